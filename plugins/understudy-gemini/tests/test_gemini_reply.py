"""What is received: whole replies and streams, in Gemini's JSON, without any SDK."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import (
    Failure,
    File,
    Finish,
    FinishReason,
    Image,
    LLMResponse,
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
from understudy.errors import ContentBlocked, EmptyResponse, MalformedResponse
from understudy.response import Heartbeat
from understudy_gemini.streaming import EventReader
from understudy_gemini.wire import request_body
from understudy_gemini_wire.streaming import StreamReader
from understudy_gemini_wire.wire import Asked, parse, response_of

ASKED = Request(messages=(Message.user("a"),))
DAY = date(2026, 11, 30)


def reply(*parts: dict[str, Any], reason: str | None = "STOP", **members: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], **members}


def read(body: Any, request: Request = ASKED) -> LLMResponse:
    return response_of(body, {}, Asked(request, "gemini", "m"))


def test_a_reply_in_full() -> None:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "cachedContentTokenCount": 8}
    body = reply({"text": "po"}, {"text": "ng"}, modelVersion="v", responseId="r", usageMetadata=usage)
    response = read(body)
    assert (response.content, response.model, response.request_id, response.provider_name) == (
        "pong",
        "v",
        "r",
        "gemini",
    )
    assert response.finish_reason is FinishReason.STOP
    assert response.usage == Usage(input_tokens=10, output_tokens=7, thinking_tokens=4, cache_read_tokens=8)
    assert response.metadata == {"modelVersion": "v", "responseId": "r", "finishReason": "STOP"}


def test_thinking_comes_apart_from_the_text_and_returns_with_its_signature() -> None:
    thought = {"text": "hm", "thought": True, "thoughtSignature": "c2ln"}
    answer = {"text": "pong", "thoughtSignature": "bmln"}
    response = read(reply(thought, answer, {"text": ""}))
    assert response.content == "pong"
    assert response.thinking == "hm"
    assert response.parts == (
        Thinking("hm", {"gemini": {"thoughtSignature": "c2ln"}}),
        Text("pong", {"gemini": {"thoughtSignature": "bmln"}}),
    )
    again = Request(messages=(Message.user("a"), response.message, Message.user("b")))
    assert request_body(again, "gemini-3.8-flash", "gemini", DAY)[0]["contents"][1]["parts"] == [thought, answer]


def test_calls_without_an_id_get_one_that_no_call_of_the_conversation_has() -> None:
    body = reply(*[{"functionCall": {"name": "f", "args": {"x": 1}}}] * 2, {"functionCall": {"name": "g", "id": "v7"}})
    first = read(body)
    assert first.finish_reason is FinishReason.TOOL_CALLS
    assert [call.id for call in first.tool_calls] == ["call_0_f", "call_1_f", "v7"]
    assert first.tool_calls[2].provider_data == {"gemini": {"id": "v7"}}
    later = read(body, Request(messages=(Message.user("a"), first.message, Message.user("b"))))
    assert [call.id for call in later.tool_calls[:2]] == ["call_3_f", "call_4_f"]
    taken = Message.assistant(ToolCall(id="call_1_f", name="f"))
    other = read(body, Request(messages=(Message.user("a"), taken, Message.user("b"))))
    assert len({"call_1_f", *(call.id for call in other.tool_calls)}) == 4


def test_parts_of_other_kinds_are_kept_for_the_way_back() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}}
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}, "thoughtSignature": "c2ln"}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "iVBORw=="}}
    response = read(reply(code, {"text": "2"}, picture, sound))
    assert response.content == "2"
    assert [type(part) for part in response.parts] == [Text, Text, Image, File]
    again = Request(messages=(Message.user("a"), response.message, Message.user("b")))
    assert request_body(again, "gemini-3.8-flash", "gemini", DAY)[0]["contents"][1]["parts"] == [
        code,
        {"text": "2"},
        picture,
        sound,
    ]


def test_an_answer_to_a_schema_comes_parsed() -> None:
    request = Request(messages=(Message.user("a"),), output_schema={"type": "object"})
    assert read(reply({"text": '{"a": 1}'}), request).structured == {"a": 1}
    with pytest.raises(MalformedResponse, match="JSON"):
        read(reply({"text": '{"a": '}, reason="MAX_TOKENS"), request)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("MAX_TOKENS", FinishReason.LENGTH), ("CONTINUATION", FinishReason.LENGTH), ("NEW", FinishReason.UNKNOWN)],
)
def test_an_answer_with_an_unusual_end_is_an_answer(reason: str, expected: FinishReason) -> None:
    assert read(reply({"text": "pong"}, reason=reason)).finish_reason is expected


@pytest.mark.parametrize(
    ("body", "failure", "words"),
    [
        (reply({"text": "x"}, reason="SAFETY"), ContentBlocked, "SAFETY"),
        (reply(reason="PROHIBITED_CONTENT"), ContentBlocked, "PROHIBITED_CONTENT"),
        ({"promptFeedback": {"blockReason": "JAILBREAK"}}, ContentBlocked, "JAILBREAK"),
        (reply(reason="MALFORMED_FUNCTION_CALL"), MalformedResponse, "MALFORMED_FUNCTION_CALL"),
        (reply(reason="OTHER"), MalformedResponse, "OTHER"),
        (reply(reason="MAX_TOKENS"), EmptyResponse, "max_tokens was used up"),
        (reply(), EmptyResponse, "found none"),
        (reply({"text": " \n"}), EmptyResponse, "found none"),
        (reply({"text": "hm", "thought": True}), EmptyResponse, "found none"),
        ({"candidates": [], "usageMetadata": {}}, EmptyResponse, "candidate"),
        (reply({"text": "x"}, reason=None), MalformedResponse, "reason why the model stopped"),
        ({}, MalformedResponse, "candidates"),
        ([], MalformedResponse, "a JSON object"),
        (None, MalformedResponse, "a JSON object"),
        (reply({"functionCall": {"args": {}}}), MalformedResponse, "a tool call"),
        (reply({"functionCall": {"name": "f", "args": "x"}}), MalformedResponse, "a tool call"),
        (reply({"inlineData": {"data": "?"}}), MalformedResponse, "base64"),
        ({"candidates": [{"content": {"parts": ["x"]}}]}, MalformedResponse, "parts"),
    ],
)
def test_a_reply_without_an_answer_is_a_failure(body: Any, failure: type[Failure], words: str) -> None:
    with pytest.raises(failure, match=words) as caught:
        read(body)
    assert type(caught.value) is failure


@pytest.mark.parametrize("text", ["", "<html>", '{"a":', b"\xff\xfe\xfa", "[" * 100_000])
def test_what_is_no_json_is_malformed(text: str | bytes) -> None:
    with pytest.raises(MalformedResponse, match="expected a reply in JSON, found") as caught:
        parse(text.encode() if isinstance(text, str) else text)
    assert len(str(caught.value)) < 400


def events_of(chunks: list[Any], request: Request = ASKED) -> tuple[list[Any], LLMResponse]:
    reader = StreamReader(EventReader(), {}, Asked(request, "gemini", "m"))
    events = [event for chunk in chunks for event in reader.feed(chunk) if event != Heartbeat()]
    end = reader.finish()
    assert isinstance(end, Finish)
    return events, end.response


def test_a_stream_ends_in_what_the_whole_reply_would_have_been() -> None:
    parts: tuple[dict[str, Any], ...] = (
        {"text": "h", "thought": True},
        {"text": "m", "thought": True},
        {"text": "po"},
        {"text": "ng"},
        {"functionCall": {"name": "f", "args": {"x": "ü"}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "f"}},
        {"text": "", "thoughtSignature": "bmln"},
        {"text": "!"},
    )
    chunks = [reply(part, reason=None, usageMetadata={"promptTokenCount": 3}) for part in parts]
    chunks.append(reply({"text": ""}, usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 2}))
    request = Request(messages=(Message.user("a"),), tools=(Tool(name="f"),))
    events, response = events_of(chunks, request)
    assert events == [
        ThinkingDelta("h"),
        ThinkingDelta("m"),
        TextDelta("po"),
        TextDelta("ng"),
        ToolCallDelta(0, "call_0_f", "f", '{"x": "ü"}'),
        ToolCallDelta(1, "call_1_f", "f", "{}"),
        TextDelta("!"),
    ]
    assert (response.content, response.thinking) == ("pong!", "hm")
    assert response.finish_reason is FinishReason.TOOL_CALLS
    assert response.usage == Usage(input_tokens=3, output_tokens=2)
    assert [call.id for call in response.tool_calls] == ["call_0_f", "call_1_f"]
    whole = reply({"text": "hm", "thought": True}, {"text": "pong"}, *parts[4:])
    assert response.parts == read(whole, request).parts


def test_a_stream_without_a_finish_reason_is_interrupted() -> None:
    reader = StreamReader(EventReader(), {}, Asked(ASKED, "gemini", "m"))
    reader.feed(reply({"text": "so "}, reason=None))
    reader.feed(reply({"text": "far"}, {"text": "hm", "thought": True}, reason=None))
    with pytest.raises(StreamInterrupted, match="after 6 characters") as caught:
        reader.finish()
    assert caught.value.partial == "so far"


def test_a_stream_that_is_blocked_is_blocked() -> None:
    with pytest.raises(ContentBlocked):
        events_of([reply({"text": "I"}, reason=None), reply(reason="SAFETY")])
    with pytest.raises(ContentBlocked):
        events_of([{"promptFeedback": {"blockReason": "SAFETY"}}])


def cut(data: bytes, size: int) -> list[Any]:
    reader = EventReader()
    events = [event for at in range(0, len(data), size) for event in reader.feed(data[at : at + size])]
    return events + reader.end()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_events_are_the_same_however_they_are_cut(size: int, end: str) -> None:
    first, second = {"text": "ü\u2028\u0085€"}, {"text": "x\n"}
    lines = [
        ": hello",
        "event: x",
        f"data: {json.dumps(first, ensure_ascii=False)}",
        "",
        "data:[",
        f"data: {json.dumps(second)}]",
    ]
    assert cut(end.join([*lines, "", ""]).encode(), size) == [first, [second]]
    assert cut(end.join(lines).encode(), size) == [first, [second]]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b'[{"a": 1}\n,\n{"b": 2}\n]', [{"a": 1}, {"b": 2}]),
        (b'{\n"error": {"code": 503}\n}', [{"error": {"code": 503}}]),
        (b'[{"error": {"code": 503}}]', [[{"error": {"code": 503}}]]),
        (b'data: {"a": 1}\n\ndata: {"b"', [{"a": 1}]),
        (b"", []),
    ],
)
def test_a_body_that_is_no_event_stream_is_read_at_its_end(data: bytes, events: list[Any]) -> None:
    assert cut(data, 4) == events


@pytest.mark.parametrize("data", [b"<html>\n</html>", b"data: {broken}\n\n", b"data: \xff\n\n"])
def test_a_stream_of_something_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedResponse):
        cut(data, 5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["STOP", "SAFETY"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["candidates", "content", "parts", "text", "thought", "functionCall", "name", "args", "id", "inlineData",
             "mimeType", "data", "finishReason", "promptFeedback", "blockReason", "usageMetadata", "promptTokenCount",
             "error", "code", "status", "message", "details", "reason", "violations", "retryDelay", "thoughtSignature"]
        ),
        inner, max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON, st.lists(JSON, max_size=3))
def test_no_reply_brings_anything_but_an_answer_or_our_failures(body: Any, parts: list[Any]) -> None:
    candidate = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    for shape in (body, candidate, {"candidates": [body]}, {"error": body}):
        for attempt in (lambda shape=shape: read(shape), lambda shape=shape: events_of([shape])):
            try:
                attempt()
            except Failure:
                continue
