"""Responses and their events, translated without SDK and socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy import (
    Failure,
    FinishReason,
    LLMResponse,
    Message,
    Request,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from understudy.errors import ContentBlocked, EmptyResponse, MalformedResponse, Overloaded, RateLimited, ServerError
from understudy.response import Heartbeat
from understudy_openai.models import Endpoint
from understudy_openai.streaming_responses import StreamReader
from understudy_openai.wire_responses import response_of

REQUEST = Request(messages=(Message.user("Hello"),))
OPENAI = Endpoint(is_openai=True)
HEADERS = {"x-request-id": "req_1"}
SUMMARY = [{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "Aha."}]
REASONING = {"id": "rs_1", "type": "reasoning", "summary": SUMMARY, "encrypted_content": "gAAA"}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "status": "completed"}


def _said(*texts: str, **content: Any) -> dict[str, Any]:
    pieces = [{"type": "output_text", "annotations": [], "logprobs": [], "text": text} for text in texts]
    item = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant"}
    return {**item, "content": [*pieces, *([content] if content else [])]}


def _response(*items: Any, status: Any = "completed", reason: str | None = None, **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 2}
    details = {"reason": reason} if reason else None
    body = {"id": "resp_1", "object": "response", "model": "gpt-x", "output": [*items], "usage": usage, "error": None}
    return body | {"status": status, "incomplete_details": details} | fields


def _read(body: Any, request: Request = REQUEST) -> LLMResponse:
    return response_of(body, HEADERS, request, OPENAI)


@pytest.mark.parametrize(
    ("status", "reason", "finish_reason"),
    [
        ("completed", None, FinishReason.STOP),
        ("incomplete", "max_output_tokens", FinishReason.LENGTH),
        ("incomplete", "max_messages", FinishReason.LENGTH),
        ("incomplete", "steered", FinishReason.PAUSED),
        ("incomplete", "a_reason_of_tomorrow", FinishReason.UNKNOWN),
        ("incomplete", None, FinishReason.UNKNOWN),
        ("in_progress", None, FinishReason.PAUSED),
    ],
)
def test_statuses(status: str, reason: str | None, finish_reason: FinishReason) -> None:
    response = _read(_response(_said("Hi"), status=status, reason=reason))
    assert response.finish_reason is finish_reason
    assert (response.content, response.model, response.request_id) == ("Hi", "gpt-x", "req_1")
    assert response.metadata["status"] == status


def test_parts_come_in_order_and_keep_their_items() -> None:
    call = {**CALL, "arguments": '{"city": "Bern"}'}
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {}}
    response = _read(_response(REASONING, search, _said("One, ", "two."), call))
    kept = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant"}
    assert response.parts == (
        Thinking("Hm.\n\nAha.", {"openai": {"item": REASONING}}),
        Thinking("", {"openai": {"item": search}}),
        Text("One, ", {"openai": {"item": kept}}),
        Text("two.", {"openai": {"item": kept}}),
        ToolCall(
            id="call_1", name="weather", arguments={"city": "Bern"}, provider_data=response.parts[4].provider_data
        ),
    )
    assert response.parts[4].provider_data["openai"]["item"] == {
        "id": "fc_1",
        "type": "function_call",
        "status": "completed",
    }
    assert response.finish_reason is FinishReason.TOOL_CALLS


def test_reasoning_in_full_as_open_models_show_it() -> None:
    shown = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    assert _read(_response(shown, _said("Hi"))).thinking == "Hm."


def test_tokens_and_their_parts() -> None:
    usage = {
        "input_tokens": 13,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5},
        "output_tokens": 284,
        "output_tokens_details": {"reasoning_tokens": 256},
    }
    assert _read(_response(_said("Hi"), usage=usage)).usage == Usage(
        input_tokens=13, output_tokens=284, thinking_tokens=256, cache_read_tokens=4, cache_write_tokens=5
    )


def test_citations_stay_with_their_text() -> None:
    cited = [{"type": "url_citation", "url": "https://x.example"}]
    said = _said(type="output_text", annotations=cited, text="Hi")
    assert _read(_response(said)).parts[0].provider_data["openai"]["annotations"] == cited


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "server_error", "message": "failed"}, ServerError),
        ({"code": "rate_limit_exceeded", "message": "failed"}, RateLimited),
        ({"code": "server_is_overloaded", "message": "failed"}, Overloaded),
        ({"code": "bio_policy", "message": "failed"}, ContentBlocked),
        ({"code": "of_tomorrow", "message": "failed"}, ServerError),
        (None, ServerError),
    ],
)
def test_a_response_that_failed_says_why(error: Any, kind: type[Failure]) -> None:
    for status in ("failed", "cancelled"):
        with pytest.raises(Failure, match="failed" if error else status) as caught:
            _read(_response(status=status, error=error))
        assert type(caught.value) is kind
        assert (caught.value.provider, caught.value.request_id) == ("openai", "req_1")


def test_a_refusal_is_no_answer() -> None:
    with pytest.raises(ContentBlocked, match=r"the model refused: No\."):
        _read(_response(_said(type="refusal", refusal="No.")))
    with pytest.raises(ContentBlocked, match="a content filter"):
        _read(_response(_said("Ha"), status="incomplete", reason="content_filter"))


def test_nothing_usable_is_an_empty_response() -> None:
    with pytest.raises(EmptyResponse, match="max_tokens was used up before"):
        _read(_response(REASONING, status="incomplete", reason="max_output_tokens"))
    with pytest.raises(EmptyResponse):
        _read(_response(_said("")))


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "text",
        _response(status=None),
        {"status": "completed"},
        _response("text"),
        _response({**CALL, "arguments": "{"}),
        _response(_said(type="output_text", text=7, annotations=[])),
    ],
)
def test_other_shapes_are_malformed(body: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected an answer") as caught:
        _read(body)
    assert (caught.value.provider, caught.value.request_id) == ("openai", "req_1")


def test_a_tool_call_cut_at_the_token_limit_is_left_out_with_a_warning() -> None:
    cut = {**CALL, "arguments": '{"city": "Be'}
    response = _read(_response(_said("Hi"), cut, status="incomplete", reason="max_output_tokens"))
    assert response.tool_calls == ()
    assert [warning.setting for warning in response.warnings] == ["max_tokens"]


# ---- streams ----


def _told(*events: Any) -> tuple[StreamReader, list[Any]]:
    reader = StreamReader(HEADERS, REQUEST, OPENAI)
    told = [piece for event in events for piece in reader.feed(event.get("type", ""), json.dumps(event))]
    return reader, [piece for piece in told if piece != Heartbeat()]


def _end(*items: Any, kind: str = "completed", **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": _response(*items, status=kind, **fields)}


HELLO = [{"type": "response.output_text.delta", "output_index": 1, "delta": delta} for delta in ("Hel", "lo")]


def test_a_stream_tells_each_piece_and_ends_in_the_whole_response() -> None:
    call = {**CALL, "arguments": '{"city": "Bern"}'}
    thinking: list[Any] = []
    for place, piece in enumerate(SUMMARY):
        thinking.append({"type": "response.reasoning_summary_part.added", "summary_index": place, "part": {}})
        thinking.append({"type": "response.reasoning_summary_text.delta", "delta": piece["text"]})
    spelled = {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"city": "Bern"}'}
    begun = {"type": "response.output_item.added", "output_index": 2, "item": {**CALL, "arguments": ""}}
    opening = {"type": "response.created", "response": _response(status="in_progress")}
    odd = {"type": "response.of_tomorrow"}
    reader, told = _told(opening, *thinking, odd, *HELLO, begun, spelled, _end(REASONING, _said("Hello"), call))
    assert told == [
        ThinkingDelta("Hm."),
        ThinkingDelta("\n\n"),
        ThinkingDelta("Aha."),
        TextDelta("Hel"),
        TextDelta("lo"),
        ToolCallDelta(0, "call_1", "weather", ""),
        ToolCallDelta(0, "call_1", "weather", '{"city": "Bern"}'),
    ]
    response = reader.finish().response
    assert response == _read(_response(REASONING, _said("Hello"), call))
    assert response.thinking == "".join(piece.text for piece in told if isinstance(piece, ThinkingDelta))


def test_text_that_comes_only_at_the_end_is_told_too() -> None:
    begun = {"type": "response.output_text.delta", "output_index": 0, "delta": "Hel"}
    for events in ([], [begun]):
        reader, told = _told(*events, _end(_said("Hello")))
        assert "".join(event.text for event in told if isinstance(event, TextDelta)) == "Hello"
        assert reader.finish().response.content == "Hello"
        assert not reader.finish().response.warnings
    reader, told = _told({**begun, "delta": "Hallo"}, _end(_said("Hello")))
    assert [str(warning) for warning in reader.finish().response.warnings] == [
        "the text at the end of the stream is not that of its pieces: it is what counts"
    ]


def test_items_that_are_told_only_on_the_way_are_kept() -> None:
    done = {"type": "response.output_item.done", "output_index": 0, "item": _said("Hello")}
    assert _told(*HELLO, done, _end())[0].finish().response.content == "Hello"


def test_a_stream_without_its_end_marker_is_interrupted() -> None:
    reader, _ = _told(*HELLO)
    assert reader.feed("", "[DONE]") == []
    with pytest.raises(StreamInterrupted, match=r"without response\.completed") as caught:
        reader.finish()
    assert (caught.value.partial, caught.value.request_id) == ("Hello", "req_1")


def test_an_incomplete_response_is_an_answer_and_a_failed_one_a_failure() -> None:
    cut = _told(*HELLO, _end(_said("Hello"), kind="incomplete", reason="max_output_tokens"))[0].finish().response
    assert (cut.content, cut.finish_reason) == ("Hello", FinishReason.LENGTH)
    with pytest.raises(RateLimited):
        _told(*HELLO, _end(kind="failed", error={"code": "rate_limit_exceeded", "message": "x"}))[0].finish()


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"type": "error", "code": "server_is_overloaded", "message": "busy", "param": None}, Overloaded),
        ({"type": "error", "code": None, "message": "busy"}, ServerError),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "busy"}}, RateLimited),
        ({"error": {"type": "server_error", "message": "busy"}}, ServerError),
        ({"type": "error", "odd": "busy"}, ServerError),
    ],
)
def test_an_error_event_is_its_typed_failure(event: Any, kind: type[Failure]) -> None:
    with pytest.raises(Failure, match="busy") as caught:
        _told(*HELLO, event)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta"},
        {"type": "response.completed", "response": 7},
    ],
)
def test_events_of_another_shape_are_malformed(event: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected an event of an answer"):
        _told(event)
