"""Replies and events, translated without SDK and socket."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import (
    FinishReason,
    LLMResponse,
    Message,
    Request,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from understudy.errors import ContentBlocked, EmptyResponse, MalformedResponse, Overloaded
from understudy.response import Heartbeat
from understudy_claude.reply import response_of
from understudy_claude.streaming import StreamReader
from understudy_claude.wire import Asked

REQUEST = Request(messages=(Message.user("Hello"),))
TEXT = {"type": "text", "text": "Hi"}


def _message(*content: Any, stop_reason: Any = "end_turn", **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 2}
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [*content]} | (
        {"stop_reason": stop_reason, "stop_sequence": None, "usage": usage} | fields
    )


def _read(body: Any, request: Request = REQUEST) -> LLMResponse:
    return response_of(body, {"request-id": "req_1"}, Asked(request))


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("pause_turn", FinishReason.PAUSED),
        ("a_reason_of_tomorrow", FinishReason.UNKNOWN),
    ],
)
def test_stop_reasons(stop_reason: str, finish_reason: FinishReason) -> None:
    response = _read(_message(TEXT, stop_reason=stop_reason))
    assert response.finish_reason is finish_reason
    assert (response.content, response.model, response.request_id) == ("Hi", "claude-x", "req_1")
    assert response.metadata == {"id": "msg_1", "stop_reason": stop_reason}


def test_tokens_from_and_to_the_cache_are_part_of_the_input() -> None:
    usage = {"input_tokens": 5, "cache_creation_input_tokens": 70, "cache_read_input_tokens": 900, "output_tokens": 8}
    response = _read(_message(TEXT, usage=usage | {"output_tokens_details": {"thinking_tokens": 6}}))
    assert response.usage == Usage(
        input_tokens=975, output_tokens=8, thinking_tokens=6, cache_read_tokens=900, cache_write_tokens=70
    )


def test_parts_come_in_order_and_thinking_keeps_its_block() -> None:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    hidden = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
    response = _read(_message(thinking, hidden, TEXT, {"type": "of_tomorrow"}, call, stop_reason="tool_use"))
    assert response.parts == (
        Thinking("Hm.", {"claude": thinking}),
        Thinking("", {"claude": hidden}),
        Text("Hi"),
        ToolCall(id="toolu_1", name="weather", arguments={"city": "Bern"}),
    )
    assert response.thinking == "Hm."


def test_what_the_vendors_own_tools_did_is_carried_along_so_that_a_paused_turn_can_go_on() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    response = _read(_message(search, found, stop_reason="pause_turn"))
    assert [part.provider_data["claude"] for part in response.parts] == [search, found]
    assert (response.content, response.thinking, response.finish_reason) == ("", "", FinishReason.PAUSED)


def test_a_refusal_is_no_answer() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    with pytest.raises(ContentBlocked, match=r"the model refused \(cyber\): No\.") as caught:
        _read(_message(TEXT, stop_reason="refusal", stop_details=details))
    assert (caught.value.code, caught.value.provider, caught.value.request_id) == ("cyber", "claude", "req_1")
    with pytest.raises(ContentBlocked, match="the model refused"):
        _read(_message(stop_reason="refusal", stop_details=None))


@pytest.mark.parametrize("content", [[], [{"type": "text", "text": " \n"}], [{"type": "thinking", "thinking": "Hm."}]])
def test_nothing_usable_is_an_empty_response(content: list[Any]) -> None:
    with pytest.raises(EmptyResponse, match="max_tokens"):
        _read(_message(*content, stop_reason="max_tokens"))


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "text",
        7,
        _message(TEXT, stop_reason=7),
        _message(TEXT, content=7),
        _message({"type": "image", "source": {"type": "base64"}}),
        _message({"type": "image", "source": {"type": "base64", "data": "no base64!"}}),
        _message("text"),
        _message({"type": "text", "text": 7}),
        _message({"type": "tool_use", "id": "t", "name": "n", "input": "{"}),
        _message({"type": "tool_use", "id": "t", "name": "n", "input": [1]}),
        _message({"type": "tool_use", "id": "t"}),
    ],
)
def test_other_shapes_are_malformed(body: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected a message") as caught:
        _read(body)
    assert (caught.value.provider, caught.value.request_id) == ("claude", "req_1")


def test_an_answer_under_a_schema_comes_parsed() -> None:
    request = Request(messages=REQUEST.messages, output_schema={"type": "object"})
    assert _read(_message({"type": "text", "text": '{"age": 30}'}), request).structured == {"age": 30}
    with pytest.raises(MalformedResponse, match="cut at max_tokens") as caught:
        _read(_message({"type": "text", "text": '{"age": '}, stop_reason="max_tokens"), request)
    assert caught.value.provider == "claude"


# ---- streams ----


def _events(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], stop_reason: str = "end_turn") -> list[Any]:
    start = _message(stop_reason=None, usage={"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1})
    events: list[Any] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    usage = {"output_tokens": 9, "cache_read_input_tokens": None}
    return [
        *events,
        {"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]


HELLO = ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo"}])


def test_a_stream_adds_up_to_the_message() -> None:
    reader = StreamReader({"request-id": "req_1"}, Asked(REQUEST))
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"city":', ' "Bern"}')]
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    thought = [{"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "c2ln"}]
    told = [
        piece
        for event in _events((thinking, thought), HELLO, (call, pieces), stop_reason="tool_use")
        for piece in reader.feed(event)
        if piece != Heartbeat()
    ]
    assert told[1:3] == [TextDelta("Hel"), TextDelta("lo")]
    assert told[3:] == [
        ToolCallDelta(0, "toolu_1", "weather", ""),
        ToolCallDelta(0, "toolu_1", "weather", '{"city":'),
        ToolCallDelta(0, "toolu_1", "weather", ' "Bern"}'),
    ]
    response = reader.finish().response
    assert response.parts == (
        Thinking("Hm.", {"claude": {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}}),
        Text("Hello"),
        ToolCall(id="toolu_1", name="weather", arguments={"city": "Bern"}),
    )
    assert response.usage == Usage(input_tokens=7, output_tokens=9, cache_read_tokens=4)
    assert (response.finish_reason, response.request_id) == (FinishReason.TOOL_CALLS, "req_1")


def test_unknown_events_blocks_and_deltas_are_passed_over() -> None:
    reader = StreamReader({}, Asked(REQUEST))
    odd = ({"type": "of_tomorrow"}, [{"type": "delta_of_tomorrow", "x": 1}])
    for event in [{"type": "event_of_tomorrow"}, *_events(odd, HELLO)]:
        reader.feed(event)
    assert reader.finish().response.parts == (Text("Hello"),)


def test_a_stream_without_its_end_marker_is_interrupted() -> None:
    reader = StreamReader({"request-id": "req_1"}, Asked(REQUEST))
    for event in _events(HELLO)[:-2]:
        reader.feed(event)
    with pytest.raises(StreamInterrupted, match="without message_stop") as caught:
        reader.finish()
    assert (caught.value.partial, caught.value.request_id) == ("Hello", "req_1")


def test_an_end_marker_without_a_stop_reason_is_an_interruption_too() -> None:
    reader = StreamReader({}, Asked(REQUEST))
    for event in [*_events(HELLO)[:-2], {"type": "message_stop"}]:
        reader.feed(event)
    with pytest.raises(StreamInterrupted):
        reader.finish()


def test_an_error_event_is_its_typed_failure() -> None:
    event = {"type": "error", "error": {"details": None, "type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(Overloaded):
        StreamReader({}, Asked(REQUEST)).feed(event)


@pytest.mark.parametrize(
    "event",
    [
        "text",
        {},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t"}},
        {"type": "content_block_start", "index": {}, "content_block": {"type": "text"}},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "input_json_delta", "partial_json": "x"}},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": 7}},
    ],
)
def test_events_of_another_shape_are_malformed(event: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected an event of a message"):
        StreamReader({}, Asked(REQUEST)).feed(event)


def test_a_tool_call_cut_at_the_token_limit_is_left_out_with_a_warning() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    cut = (call, [{"type": "input_json_delta", "partial_json": '{"city": "Be'}])
    reader = StreamReader({}, Asked(REQUEST))
    for event in _events(HELLO, cut, stop_reason="max_tokens"):
        reader.feed(event)
    response = reader.finish().response
    assert response.tool_calls == ()
    assert [warning.setting for warning in response.warnings] == ["max_tokens"]
    broken = StreamReader({}, Asked(REQUEST))
    for event in _events(HELLO, cut, stop_reason="tool_use"):
        broken.feed(event)
    with pytest.raises(MalformedResponse, match="Unterminated string"):
        broken.finish()
