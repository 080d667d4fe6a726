"""Replies and streams of servers that speak the Messages API in their own way: taken where they can be understood."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    Failure,
    File,
    FinishReason,
    Image,
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
    errors,
)
from understudy.messages import NOTHING
from understudy_claude import ClaudeProvider
from understudy_claude.reply import response_of
from understudy_claude.streaming import StreamReader
from understudy_claude.wire import Asked

if TYPE_CHECKING:
    from conftest import Ask, Server

REQUEST = Request(messages=(Message.user("Hello there"),))
HI = {"type": "text", "text": "Hi"}
START = {
    "type": "message_start",
    "message": {"id": "m", "role": "assistant", "content": [], "usage": {"input_tokens": 3}},
}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
STOP = {"type": "message_stop"}
OPEN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
SAID = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
CLOSED = {"type": "content_block_stop", "index": 0}
WHOLE = [START, OPEN, SAID, CLOSED, END, STOP]
PNG = base64.b64encode(b"png").decode()


def _read(*events: Any, request: Request = REQUEST) -> tuple[LLMResponse, list[Any]]:
    """Return the answer of a stream, and its events."""
    reader = StreamReader({}, Asked(request))
    told = [one for event in events for one in reader.read(f"data: {_line(event)}\n\n".encode())]
    *rest, finish = [*told, *reader.end()]
    return finish.response, rest  # type: ignore[union-attr]  # a Finish is the last


def _line(event: Any) -> str:
    return event if isinstance(event, str) else json.dumps(event)


def _delta(index: int | None = 0, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "delta": delta} | ({} if index is None else {"index": index})


def _begin(index: int = 0, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


# ---- whole replies ----


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("Hi", (Text("Hi"),)),
        ([HI, {"type": "text"}, {"type": "text", "text": None}], (Text("Hi"),)),
        ([{"text": "Hi"}], (Text("Hi"),)),
        ([HI, {"type": "of_tomorrow"}, {}, {"type": 7}], (Text("Hi"),)),
        ([HI, {"type": "thinking"}], (Text("Hi"), Thinking(""))),
        ([{"type": "tool_use", "id": "t", "name": "n"}], (ToolCall(id="t", name="n"),)),
        ([{"type": "tool_use", "id": "t", "name": "n", "input": None}], (ToolCall(id="t", name="n"),)),
        ([{"type": "tool_use", "id": "t", "name": "n", "input": ""}], (ToolCall(id="t", name="n"),)),
        (
            [{"type": "tool_use", "id": "t", "name": "n", "input": '{"a": 1}'}],
            (ToolCall(id="t", name="n", arguments={"a": 1}),),
        ),
        ([{"type": "tool_use", "id": 7, "name": "n", "input": {}}], (ToolCall(id="7", name="n"),)),
        (
            [{"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": PNG}}],
            (Image(data=b"png", media_type="image/webp"),),
        ),
        (
            [{"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}],
            (Image(url="https://x.example/a.png"),),
        ),
        (
            [
                {
                    "type": "document",
                    "title": "a",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
                }
            ],
            (File(data=b"png", media_type="application/pdf", name="a"),),
        ),
        (
            [{"type": "document", "source": {"type": "text", "data": "grüezi"}}],
            (File(data="grüezi".encode(), media_type="text/plain"),),
        ),
    ],
)
def test_blocks_without_their_fields_and_with_others_are_taken(
    ask: Ask, own: ClaudeProvider, server: Server, content: Any, parts: Any
) -> None:
    answer = server.message(HI, content=content) if isinstance(content, str) else server.message(*content)

    def deliver(asked: Any) -> Any:
        if not asked.get("stream"):
            return answer
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return server.streamed(*server.events_of({**answer, "content": blocks}))

    server.answer = deliver
    found = ask(own, REQUEST).parts
    assert tuple(replace(part, provider_data=NOTHING) for part in found) == parts


def test_ids_of_calls_are_unique_and_the_same_in_pieces_and_in_the_whole() -> None:
    earlier = Request(
        messages=(Message.user("x"), Message.assistant(ToolCall(id="call-0", name="n")), Message.user("y")),
    )
    blocks = [{"type": "tool_use", "id": name, "name": "n", "input": {}} for name in ("call-0", "call-0", "", None)]
    events = [_begin(index, **block) for index, block in enumerate(blocks)]
    response, told = _read(START, *events, {**END, "delta": {"stop_reason": "tool_use"}}, STOP, request=earlier)
    ids = [call.id for call in response.tool_calls]
    assert len({"call-0", *ids}) == 5
    assert [one.id for one in told if isinstance(one, ToolCallDelta)] == ids


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        (None, None),
        ({}, None),
        ([1], None),
        ({"input_tokens": 3}, None),
        ({"output_tokens": 2}, None),
        ({"input_tokens": -3, "output_tokens": 2}, None),
        ({"input_tokens": 3.5, "output_tokens": 2}, None),
        ({"input_tokens": True, "output_tokens": 2}, None),
        ({"input_tokens": "3", "output_tokens": 2}, None),
        ({"input_tokens": 10**40, "output_tokens": 2}, None),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(input_tokens=3, output_tokens=2)),
        (
            {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": None, "output_tokens_details": [1]},
            Usage(input_tokens=3, output_tokens=2),
        ),
    ],
)
def test_no_count_is_invented(server: Server, given: Any, usage: Usage | None) -> None:
    assert response_of(server.message(HI, usage=given), {}, Asked(REQUEST)).usage == usage


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("STOP", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("max_output_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        (None, FinishReason.UNKNOWN),
        ("of_tomorrow", FinishReason.UNKNOWN),
        ("content_filter", errors.ContentBlocked),
        ("sensitive", errors.ContentBlocked),
        ("guardrail_intervened", errors.ContentBlocked),
        ("recitation", errors.RequestRefused),
        ("network_error", errors.ServerError),
        ("error", errors.ServerError),
        ("model_overloaded", errors.Overloaded),
    ],
)
def test_reasons_in_other_words(server: Server, reason: str | None, meant: Any) -> None:
    answer = server.message(HI, stop_reason=reason)
    if isinstance(meant, FinishReason):
        response = response_of(answer, {}, Asked(REQUEST))
        assert (response.finish_reason, response.content) == (meant, "Hi")
        assert [one.setting for one in response.warnings] == (["stop_reason"] if reason is None else [])
        return
    with pytest.raises(meant) as caught:
        response_of(answer, {}, Asked(REQUEST))
    assert caught.value.code == reason


def test_an_answer_with_calls_ends_in_calls_whatever_the_reason_says(server: Server) -> None:
    answer = server.message({"type": "tool_use", "id": "t", "name": "n", "input": {}})
    assert response_of(answer, {}, Asked(REQUEST)).finish_reason is FinishReason.TOOL_CALLS


def test_what_is_nested_too_deep_is_no_unknown_failure(server: Server) -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    for content in ([deep], deep, [{"type": "tool_use", "id": "t", "name": "n", "input": [deep]}]):
        with pytest.raises((errors.MalformedResponse, errors.EmptyResponse)):
            response_of(server.message(HI, content=content, stop_reason="tool_use"), {}, Asked(REQUEST))


# ---- streams ----


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (WHOLE, "Hello"),
        ([*WHOLE, "[DONE]"], "Hello"),
        ([START, {"type": "ping"}, OPEN, "", ": alive", {"type": "of_tomorrow"}, {}, SAID, CLOSED, END, STOP], "Hello"),
        ([START, SAID, END, STOP], "Hello"),  # no beginning of its block
        ([START, _begin(0), SAID, CLOSED, END, STOP], "Hello"),  # nor a kind of it
        ([START, _begin(0, type="text", text="Hel"), _delta(type="text_delta", text="lo"), CLOSED, END, STOP], "Hello"),
        ([START, OPEN, _delta(type="text_delta"), _delta(type="text_delta", text=None), SAID, END, STOP], "Hello"),
        ([START, OPEN, _delta(text="Hello"), CLOSED, END, STOP], "Hello"),  # a delta without a kind
        ([START, OPEN, _delta(type="of_tomorrow", x=1), {"type": "content_block_delta"}, SAID, END, STOP], "Hello"),
        ([START, {**OPEN, "index": None}, _delta(None, type="text_delta", text="Hello"), END, STOP], "Hello"),
        ([START, _begin(0, type="thinking"), SAID, CLOSED, END, STOP], "Hello"),  # under the index of a thought
        ([START, OPEN, SAID, CLOSED, OPEN, _delta(type="text_delta", text=" you"), CLOSED, END, STOP], "Hello you"),
        ([OPEN, SAID, CLOSED, END, STOP], "Hello"),  # no message_start
        ([{**START, "message": {"content": [{"type": "text", "text": "Hello"}]}}, END, STOP], "Hello"),
        (
            [
                START,
                OPEN,
                SAID,
                CLOSED,
                {**END, "delta": {**END["delta"], "stop_sequence": None}},
                {**END, "delta": {}},
                STOP,
            ],
            "Hello",
        ),  # type: ignore[dict-item]
    ],
)
def test_a_stream_with_fields_and_events_left_out(events: list[Any], text: str) -> None:
    response, told = _read(*events)
    assert response.content == text == "".join(one.text for one in told if isinstance(one, TextDelta))
    assert response.finish_reason is FinishReason.STOP
    assert response.warnings == ()


def test_arguments_come_all_at_once_or_in_pieces() -> None:
    end = {**END, "delta": {"stop_reason": "tool_use"}}
    named = {"type": "tool_use", "id": "t", "name": "n"}
    for events in (
        [_begin(**named, input={"a": 1}), CLOSED],
        [_begin(**named, input='{"a": 1}'), CLOSED],
        [_begin(**named), _delta(type="input_json_delta", partial_json='{"a": 1}'), CLOSED],
        [_begin(**named, input={}), _delta(type="input_json_delta"), _delta(partial_json='{"a": 1}'), CLOSED],
    ):
        response, told = _read(START, *events, end, STOP)
        assert [dict(call.arguments) for call in response.tool_calls] == [{"a": 1}]
        assert json.loads("".join(one.arguments for one in told if isinstance(one, ToolCallDelta))) == {"a": 1}


def test_usage_may_come_at_the_end_alone_and_a_zero_takes_no_counts_place() -> None:
    zero = {**START, "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}
    end = {**END, "usage": {"input_tokens": 9, "output_tokens": 2}}
    assert _read(zero, OPEN, SAID, CLOSED, end, STOP)[0].usage == Usage(input_tokens=9, output_tokens=2)
    end = {**END, "usage": {"input_tokens": 0, "output_tokens": 2}}
    assert _read(START, OPEN, SAID, CLOSED, end, STOP)[0].usage == Usage(input_tokens=3, output_tokens=2)
    bare = {"type": "message_delta", "delta": END["delta"]}
    assert _read(START, OPEN, SAID, CLOSED, bare, {**STOP, "usage": {"output_tokens": 2}})[0].usage is not None
    begun = {**START, "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}}
    assert _read(begun, OPEN, SAID, CLOSED, bare, STOP)[0].usage is None  # 1 is not what was written in the end


@pytest.mark.parametrize("tail", [[], ["[DONE]"]])
def test_without_its_end_marker_a_stream_is_whole_where_its_reason_and_tokens_came(tail: list[str]) -> None:
    response, _ = _read(*WHOLE[:-1], *tail)
    assert response.content == "Hello"
    assert [one.setting for one in response.warnings] == ["stream"]
    bare = {"type": "message_delta", "delta": END["delta"]}
    for events in (WHOLE[:-2], [*WHOLE[:-2], bare], [*WHOLE[:-2], STOP]):
        with pytest.raises(StreamInterrupted) as caught:
            _read(*events, *tail)
        assert caught.value.partial == "Hello"


@pytest.mark.parametrize("place", range(7))
def test_an_event_that_cannot_be_read_is_passed_over_only_between_blocks(place: int) -> None:
    for torn in ('{"type": "content_block_de', "[1]", "oops"):
        events = [*WHOLE[:place], torn, *WHOLE[place:]]
        if place in (4, 5, 6):
            response, _ = _read(*events)
            assert response.content == "Hello"
            assert [one.setting for one in response.warnings] == (["stream"] if place < 6 else [])
        else:
            with pytest.raises(errors.MalformedResponse):
                _read(*events)
    bare = {"type": "message_delta", "delta": END["delta"]}
    with pytest.raises(errors.MalformedResponse, match="expected an event in JSON"):
        _read(START, OPEN, SAID, CLOSED, "oops", bare, STOP)  # the tokens prove nothing


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"error": {"code": 529, "message": "Overloaded"}},
        {"type": "message_delta", "delta": {"stop_reason": "error"}, "error": {"code": 529, "message": "Overloaded"}},
        {"serviceUnavailableException": {"message": "Overloaded"}},
        {"type": "error", "message": "Overloaded", "code": 529},
        'event: error\ndata: {"code": 529, "message": "Overloaded"}\n\n',
    ],
)
@pytest.mark.parametrize("place", [0, 3, 5])
def test_an_error_in_any_shape_ends_a_stream(
    ask_stream: Ask, own: ClaudeProvider, server: Server, error: Any, place: int
) -> None:
    for named in (True, False):
        server.answer = lambda asked, named=named: server.streamed(
            *WHOLE[:place], error, "data: [DONE]\n\n", named=named and isinstance(error, dict) and "type" in error
        )
        with pytest.raises(Failure) as caught:
            ask_stream(own, REQUEST)
        assert type(caught.value) is errors.Overloaded


def test_events_without_names_and_names_without_types_are_read(
    ask_stream: Ask, own: ClaudeProvider, server: Server
) -> None:
    untyped = [{name: value for name, value in event.items() if name != "type"} for event in WHOLE]
    lines = [
        f"event: {event['type']}\ndata: {json.dumps(rest)}\n\n" for event, rest in zip(WHOLE, untyped, strict=True)
    ]
    for sent in (
        server.streamed(*WHOLE, named=False),
        server.streamed(*lines),
        server.streamed(*WHOLE, "data: [DONE]\n\n"),
    ):
        server.answer = lambda asked, sent=sent: sent
        assert ask_stream(own, REQUEST).content == "Hello"
