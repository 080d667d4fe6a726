"""Streams, from bytes to the answer, without SDK and socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import (
    Finish,
    FinishReason,
    Message,
    Request,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from understudy.errors import ContextTooLong, MalformedResponse, ServerError
from understudy.response import Heartbeat
from understudy_cohere.streaming import EventReader, StreamReader

REQUEST = Request(messages=(Message.user("Hello"),), tools=(Tool(name="get-weather"),))
USAGE = {"billed_units": {"output_tokens": 2}, "tokens": {"input_tokens": 3, "output_tokens": 4}, "cached_tokens": 1}
START = {"id": "c-1", "type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}}
DONE = b"data: [DONE]\n\n"


def _content(index: int, kind: str, *pieces: str) -> list[Any]:
    begun = {"type": "content-start", "index": index, "delta": {"message": {"content": {"type": kind, kind: ""}}}}
    deltas = [
        {"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: piece}}}} for piece in pieces
    ]
    return [begun, *deltas, {"type": "content-end", "index": index}]


def _call(index: int, name: str, *pieces: str) -> list[Any]:
    call = {"id": f"{name}_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    deltas = [
        {
            "type": "tool-call-delta",
            "index": index,
            "delta": {"message": {"tool_calls": {"function": {"arguments": p}}}},
        }
        for p in pieces
    ]
    begun = {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}}
    return [begun, *deltas, {"type": "tool-call-end", "index": index}]


def _end(finish_reason: Any = "COMPLETE", **fields: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": finish_reason, "usage": USAGE, **fields}}


def _bytes(*events: Any) -> bytes:
    return "".join(
        f"event: {event.get('type')}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events
    ).encode()


def _read(*events: Any) -> tuple[list[Any], Finish]:
    reader = StreamReader({"x-debug-trace-id": "f520"}, REQUEST, "command-x")
    told = [event for event in reader.read(_bytes(*events) + DONE) if event != Heartbeat()]
    return told, reader.finish()


HELLO = _content(0, "text", "Hel", "", "lo")


def test_a_stream_adds_up_to_the_message() -> None:
    plan = [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": piece}}} for piece in ("I ", "", "will.")]
    told, finish = _read(
        START,
        *_content(0, "thinking", "H", "m."),
        *_content(1, "text", "Hel", "lo"),
        *plan,
        *_call(2, "get_weather", '{"city":', ' "Bern"}'),
        *_call(3, "get_time"),
        _end("TOOL_CALL"),
    )
    assert told == [
        ThinkingDelta("H"),
        ThinkingDelta("m."),
        TextDelta("Hel"),
        TextDelta("lo"),
        ThinkingDelta("I "),
        ThinkingDelta("will."),
        ToolCallDelta(0, "get_weather_2", "get-weather", ""),
        ToolCallDelta(0, "get_weather_2", "get-weather", '{"city":'),
        ToolCallDelta(0, "get_weather_2", "get-weather", ' "Bern"}'),
        ToolCallDelta(1, "get_time_3", "get_time", ""),
    ]
    response = finish.response
    assert response.parts == (
        Thinking("Hm.", {"cohere": {"type": "thinking", "thinking": "Hm."}}),
        Text("Hello"),
        Thinking("I will.", {"cohere": {"type": "tool_plan"}}),
        ToolCall(id="get_weather_2", name="get-weather", arguments={"city": "Bern"}),
        ToolCall(id="get_time_3", name="get_time", arguments={}),
    )
    assert response.usage == Usage(input_tokens=3, output_tokens=4, cache_read_tokens=1)
    assert (response.finish_reason, response.request_id) == (FinishReason.TOOL_CALLS, "f520")
    assert response.metadata["id"] == "c-1"


def test_unknown_events_are_passed_over_and_citations_kept() -> None:
    citation = {"start": 0, "end": 2, "text": "He"}
    odd = [
        {"type": "event-of-tomorrow", "delta": 7},
        {"type": "debug", "prompt": "x"},
        {},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"of_tomorrow": 1}}}},
        {"type": "citation-start", "index": 0, "delta": {"message": {"citations": citation}}},
        {"type": "citation-end", "index": 0},
    ]
    _, finish = _read(START, *odd, *HELLO, _end())
    assert finish.response.parts == (Text("Hello"),)
    assert finish.response.metadata["citations"] == [citation]


def test_text_whose_start_did_not_come_is_text_all_the_same() -> None:
    told, finish = _read(*HELLO[1:], _end())
    assert told == [TextDelta("Hel"), TextDelta("lo")]
    assert finish.response.content == "Hello"


@pytest.mark.parametrize("end", [None, {"type": "message-end", "delta": {}}, _end(None)])
def test_a_stream_without_its_end_marker_is_interrupted(end: Any) -> None:
    with pytest.raises(StreamInterrupted, match="without message-end") as caught:
        _read(START, *HELLO, *([end] if end is not None else []))
    assert (caught.value.partial, caught.value.request_id) == ("Hello", "f520")


def test_an_end_marker_that_was_cut_is_no_end_marker() -> None:
    reader = StreamReader({}, REQUEST, "command-x")
    list(reader.read(_bytes(START, *HELLO, _end())[:-10]))
    with pytest.raises(StreamInterrupted) as caught:
        reader.finish()
    assert (caught.value.partial, caught.value.request_id) == ("Hello", "c-1")


def test_an_end_by_error_is_its_failure() -> None:
    with pytest.raises(ServerError, match="it broke") as caught:
        _read(START, *HELLO, _end("ERROR", error="it broke"))
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (200, "ERROR", "f520")


@pytest.mark.parametrize("kind", [{}, {"type": "error"}])
def test_an_error_event_is_its_failure(kind: dict[str, str]) -> None:
    with pytest.raises(ContextTooLong):
        _read(START, {**kind, "id": "c-1", "message": "too many tokens: size limit exceeded"})


@pytest.mark.parametrize(
    "event",
    [
        "text",
        ["a list"],
        {"type": "content-delta", "index": 0},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": 7}}}},
        {"type": "content-delta", "delta": {"message": {"content": {"text": "no place"}}}},
        {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {"id": "x"}}}},
        {"type": "tool-call-delta", "index": 7, "delta": {"message": {"tool_calls": {"function": {"arguments": "x"}}}}},
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": None}}},
        {"type": "message-end", "delta": None},
    ],
)
def test_events_of_another_shape_are_malformed(event: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected an event of a message"):
        StreamReader({}, REQUEST, "command-x").feed(event)


@pytest.mark.parametrize("broken", [b'data: {"type": "content-del\n\n', b"data: \xff\n\n", b"data: " + b"[" * 10**5])
@pytest.mark.parametrize(("written", "whole"), [(2, True), (3, False), (None, False)])
def test_an_event_that_is_no_json_is_passed_over_only_where_a_piece_came_for_every_token(
    broken: bytes, written: int | None, whole: bool
) -> None:
    reader = StreamReader({}, REQUEST, "command-x")
    usage = None if written is None else {"tokens": {"input_tokens": 3, "output_tokens": written}}
    stream = (
        _bytes(*HELLO) + broken + b"\n\n" + _bytes(_end() | {"delta": {"finish_reason": "COMPLETE", "usage": usage}})
    )
    told = [event for event in reader.read(stream) if event != Heartbeat()]
    assert told == [TextDelta("Hel"), TextDelta("lo")]
    if whole:
        (warning,) = reader.finish().response.warnings
        assert "a piece of the stream could not be read" in warning.message
    else:
        with pytest.raises(MalformedResponse, match="expected an event in JSON"):
            reader.finish()


def test_an_event_that_is_no_json_and_no_end_is_malformed() -> None:
    reader = StreamReader({}, REQUEST, "command-x")
    list(reader.read(_bytes(*HELLO) + b"data: <html>\n\n"))
    with pytest.raises(MalformedResponse, match="expected an event in JSON, found '<html>'"):
        reader.finish()


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error": {"message": "too many tokens"}}\n\n',
        b'data: {"type": "error", "message": "too many tokens"}\n\n',
        b'error: {"code": 400, "message": "too many tokens"}\n\n',
        b"event: error\ndata: too many tokens\n\n",
        b'{"message": "too many tokens"}\n\n',
    ],
)
def test_an_error_in_any_shape_ends_the_stream_as_that_error(error: bytes) -> None:
    reader = StreamReader({}, REQUEST, "command-x")
    with pytest.raises(ContextTooLong):
        list(reader.read(_bytes(START, *HELLO) + error + DONE))


def test_pings_in_every_form_are_heartbeats() -> None:
    reader = StreamReader({}, REQUEST, "command-x")
    pings = b"data:\n\n: x\n\ndata: : keepalive\n\nevent: ping\ndata: {}\n\n" + b'data: {"type": "heartbeat"}\n\n'
    assert list(reader.read(pings)) == [Heartbeat()] * 5


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_events_in_every_form_that_the_format_allows(line_end: str) -> None:
    lines = [
        ": a comment",
        "retry: 5",
        "",
        "data:",
        "",
        'data:{"a":',
        'data: "\u2028"}',
        "id: 7",
        "",
        "data: [DONE]",
        "",
    ]
    text = "".join(line + line_end for line in lines)
    found = [event for event in EventReader().feed(text.encode()) if event.get("type") != "comment"]
    assert found == [{"a": "\u2028"}]


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1), st.data())
def test_pieces_may_be_cut_anywhere(texts: list[str], data: st.DataObject) -> None:
    sent = _bytes(START, *_content(0, "text", "x", *texts), _end()) + DONE
    places = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    reader = StreamReader({}, REQUEST, "command-x")
    told = []
    for begin, end in zip([0, *places], [*places, len(sent)], strict=True):
        told += list(reader.read(sent[begin:end]))
    text = "".join(event.text for event in told if isinstance(event, TextDelta))
    assert text == "x" + "".join(texts) == reader.finish().response.content
