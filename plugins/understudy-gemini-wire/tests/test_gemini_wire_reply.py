"""What is received: whole replies and streams, in Gemini's JSON, without any SDK."""

from __future__ import annotations

import json
from dataclasses import replace
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
from understudy.errors import (
    ContentBlocked,
    EmptyResponse,
    MalformedResponse,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RequestRefused,
    ServerError,
    Timeout,
    UnsupportedRequest,
)
from understudy.response import Heartbeat
from understudy_gemini_wire.chunks import ChunkReader, parse
from understudy_gemini_wire.streaming import StreamReader
from understudy_gemini_wire.wire import Asked, response_of

ASKED = Request(messages=(Message.user("a"),))


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


def test_thinking_and_text_come_apart_each_with_its_signature() -> None:
    thought = {"text": "hm", "thought": True, "thoughtSignature": "c2ln"}
    response = read(reply(thought, {"text": "pong", "thoughtSignature": "bmln"}, {"text": ""}))
    assert (response.content, response.thinking) == ("pong", "hm")
    assert response.parts == (
        Thinking("hm", {"gemini": {"thoughtSignature": "c2ln"}}),
        Text("pong", {"gemini": {"thoughtSignature": "bmln"}}),
    )


def test_each_made_up_id_is_made_but_once() -> None:
    unnamed = {"functionCall": {"name": "f" * 64, "args": {"x": 1}}}
    body = reply(unnamed, unnamed, {"functionCall": {"name": "g", "id": "v7"}})
    first = read(body)
    assert first.finish_reason is FinishReason.TOOL_CALLS
    assert first.tool_calls[2].id == "v7"
    assert first.tool_calls[2].provider_data == {"gemini": {"id": "v7"}}
    again = Request(messages=(Message.user("a"), first.message, Message.user("b")))
    _, streamed = events_of([body], again)
    ids = [call.id for one in (first, read(body), read(body, again), streamed) for call in one.tool_calls]
    made = [one for one in ids if one.startswith("call_")]
    assert all(len(one) <= 40 for one in ids)
    assert len(set(made)) == len(made) == 10  # an id that Gemini gives once more is none
    assert read(body, again).tool_calls[2].provider_data == {"gemini": {"id": "v7"}}


@pytest.mark.parametrize("arguments", [None, "", "{}", {}])
def test_no_arguments_come_in_many_forms(arguments: Any) -> None:
    (call,) = read(reply({"functionCall": {"name": "f", "args": arguments}})).tool_calls
    assert call.arguments == {}
    (call,) = read(reply({"functionCall": {"name": "f", "args": '{"x": 1}'}})).tool_calls
    assert call.arguments == {"x": 1}


def test_pictures_and_files_are_an_answer() -> None:
    parts = (
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}, "thoughtSignature": "c2ln"},
        {"inlineData": {"mimeType": "audio/wav", "data": "iVBORw=="}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/a.png"}},
        {"fileData": {"fileUri": "gs://bucket/b.mp4"}},
    )
    response = read(reply(*parts))
    assert response.content == ""
    assert [type(part) for part in response.parts] == [Image, File, Image, File]
    assert events_of([reply(part, reason=None) for part in parts] + [reply()])[1].parts == response.parts


KINDS = {
    **dict.fromkeys(("MAX_TOKENS", "CONTINUATION", "length", "model_context_window_exceeded"), FinishReason.LENGTH),
    **dict.fromkeys(("NEW", "FINISH_REASON_UNSPECIFIED"), FinishReason.UNKNOWN),
    "stop": FinishReason.STOP,
    **dict.fromkeys(("SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"), ContentBlocked),
    **dict.fromkeys(("IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR", "ESCALATION", "sensitive"), ContentBlocked),
    **dict.fromkeys(("content_filter", "SAFETY_NEW"), ContentBlocked),
    **dict.fromkeys(("RECITATION", "IMAGE_RECITATION", "LANGUAGE"), RequestRefused),
    "PUP_LIMITED_DISABLED": PermissionDenied,
    "MISSING_THOUGHT_SIGNATURE": UnsupportedRequest,
    **dict.fromkeys(("OTHER", "IMAGE_OTHER", "NO_IMAGE", "MALFORMED_FUNCTION_CALL"), MalformedResponse),
    **dict.fromkeys(("MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"), MalformedResponse),
    **dict.fromkeys(("error", "abort", "network_error"), ServerError),
    **dict.fromkeys(("model_overloaded",), Overloaded),
    **dict.fromkeys(("timeout",), Timeout),
}


@pytest.mark.parametrize(("reason", "meant"), KINDS.items())
def test_each_finish_reason_is_an_end_or_a_failure(reason: str, meant: Any) -> None:
    body = reply({"text": "pong"}, reason=reason)
    for read_one in (read, lambda one: events_of([one])[1]):
        if read_one is not read and reason == "FINISH_REASON_UNSPECIFIED":
            with pytest.raises(StreamInterrupted):  # nothing was said: the stream may have broken off
                read_one(body)
            continue
        if isinstance(meant, FinishReason):
            assert read_one(body).finish_reason is meant
            continue
        with pytest.raises(Failure) as caught:
            read_one(body)
        assert (type(caught.value), caught.value.code) == (meant, reason)


@pytest.mark.parametrize(
    ("reason", "blocked"),
    [(one, ContentBlocked) for one in ("SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "JAILBREAK", "NEW")]
    + [("OTHER", RequestRefused), ("BLOCKED_REASON_UNSPECIFIED", None)],
)
def test_each_reason_for_a_block(reason: str, blocked: type[Failure] | None) -> None:
    body = reply({"text": "pong"}) | {"promptFeedback": {"blockReason": reason}}
    if blocked is None:
        assert read(body).content == "pong"
        return
    with pytest.raises(Failure) as caught:
        read(body)
    assert type(caught.value) is blocked


def test_a_whole_reply_is_whole_without_a_finish_reason() -> None:
    for reason in (None, ""):
        response = read(reply({"text": "pong"}, reason=reason))
        assert (response.content, response.finish_reason) == ("pong", FinishReason.UNKNOWN)
        assert [warning.setting for warning in response.warnings] == ["finish_reason"]


@pytest.mark.parametrize("error", [None, "", {}, [], False])
def test_no_error_is_none(error: Any) -> None:
    assert read(reply({"text": "pong"}) | {"error": error}).content == "pong"


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ("prompt 10 candidates 3 thoughts 4 total 17", (10, 7, 4)),
        ("prompt 10 candidates 7 thoughts 4 total 17", (10, 7, 4)),  # thoughts counted among the others
        ("prompt 10 candidates 3 thoughts 4 toolUsePrompt 5 total 22", (15, 7, 4)),
        ("prompt 15 candidates 3 thoughts 4 toolUsePrompt 5 total 22", (15, 7, 4)),
        ("prompt 15 candidates 7 thoughts 4 toolUsePrompt 5 total 22", (15, 7, 4)),
        ("prompt 10 thoughts 4 total 14", (10, 4, 4)),  # Google leaves zeros out
        ("prompt 10 total 14", (10, 4, 0)),
        ("prompt 10 total 10", (10, 0, 0)),
        ("candidates 3 total 14", (11, 3, 0)),
        ("prompt 10 candidates 3", (10, 3, 0)),
        ("prompt 10", None),
        ("candidates 3", None),
        ("prompt 10 candidates -3", None),
        ("prompt 10 candidates null", None),
        ("prompt 10.5 candidates 3", None),
        ("", None),
    ],
)
def test_tokens_are_counted_by_the_total_and_none_is_made_up(counts: str, usage: tuple[int, int, int] | None) -> None:
    words = counts.split()
    told = {f"{name}TokenCount": json.loads(count) for name, count in zip(words[::2], words[1::2], strict=True)}
    expected = None if usage is None else Usage(input_tokens=usage[0], output_tokens=usage[1], thinking_tokens=usage[2])
    body = reply({"text": "pong"}, usageMetadata=told)
    assert read(body).usage == events_of([body, {"usageMetadata": {"promptTokenCount": None}}])[1].usage == expected
    assert read(reply({"text": "pong"})).usage is None


def test_an_answer_to_a_schema_comes_parsed() -> None:
    request = Request(messages=(Message.user("a"),), output_schema={"type": "object"})
    assert read(reply({"text": '{"a": 1}'}), request).structured == {"a": 1}
    with pytest.raises(MalformedResponse, match="JSON"):
        read(reply({"text": '{"a": '}, reason="MAX_TOKENS"), request)


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
        (reply(reason=None), EmptyResponse, "found none"),
        (reply({"text": "x"}, reason="RECITATION"), RequestRefused, "RECITATION"),
        (reply({"text": "x"}, reason="network_error"), ServerError, "network_error"),
        ({"promptFeedback": {"blockReason": "OTHER"}}, RequestRefused, "OTHER"),
        ({"candidates": [{"error": {"code": 503, "status": "UNAVAILABLE", "message": "no"}}]}, Overloaded, "no"),
        ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}, "candidates": []}, RateLimited, "429"),
        ({"error": "a bare text"}, ServerError, "a bare text"),
        ({"code": 503, "message": "no room", "status": "UNAVAILABLE"}, Overloaded, "no room"),
        (reply({"functionCall": {"name": None}}), MalformedResponse, "a tool call"),
        (reply({"functionCall": {"name": "f", "args": "[1"}}), MalformedResponse, "a tool call"),
        (reply({"inlineData": {"mimeType": "image/png", "data": ""}, "thought": True}), EmptyResponse, "found none"),
        (reply({}, {"text": None}, {"functionCall": None}, {"thought": True}), EmptyResponse, "found none"),
        ({"candidates": [{"content": None, "finishReason": "STOP"}]}, EmptyResponse, "found none"),
        ({"candidates": [None], "usageMetadata": None}, EmptyResponse, "candidate"),
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
    reader = StreamReader(ChunkReader(), {}, Asked(request, "gemini", "m"))
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
    first, second = (call.id for call in response.tool_calls)
    assert events == [
        ThinkingDelta("h"),
        ThinkingDelta("m"),
        TextDelta("po"),
        TextDelta("ng"),
        ToolCallDelta(0, first, "f", '{"x": "ü"}'),
        ToolCallDelta(1, second, "f", "{}"),
        TextDelta("!"),
    ]
    assert (response.content, response.thinking) == ("pong!", "hm")
    assert response.finish_reason is FinishReason.TOOL_CALLS
    assert response.usage == Usage(input_tokens=3, output_tokens=2)
    whole = reply({"text": "hm", "thought": True}, {"text": "pong"}, *parts[4:])
    unnamed = [replace(part, id="") if isinstance(part, ToolCall) else part for part in response.parts]
    assert unnamed == [replace(part, id="") if isinstance(part, ToolCall) else part for part in read(whole).parts]


def test_a_stream_without_a_finish_reason_is_interrupted() -> None:
    reader = StreamReader(ChunkReader(), {}, Asked(ASKED, "gemini", "m"))
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


@pytest.mark.parametrize("depth", [50, 500, 900, 990, 5000])
@pytest.mark.parametrize(
    "around",
    [
        '{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"x": %s}}}]}}]}',
        '{"candidates": [{"content": {"parts": [{"functionCall": %s}]}, "finishReason": "STOP"}]}',
        '{"candidates": [{"content": {"parts": [{"inlineData": %s}]}, "finishReason": "STOP"}]}',
        '{"candidates": [{"content": {"parts": %s}, "finishReason": "STOP"}]}',
        '{"error": {"details": %s}}',
        "%s",
    ],
)
def test_nothing_is_nested_too_deep_to_be_told_of(around: str, depth: int) -> None:
    data = (around % ("[" * depth + "]" * depth)).encode()
    for before in (b"data: ", b"["):
        reader = StreamReader(ChunkReader(), {}, Asked(ASKED, "gemini", "m"))
        try:
            assert [*reader.read(before + data + b"\n\n"), *reader.end()]
        except Failure:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["STOP", "SAFETY"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["candidates", "content", "parts", "text", "thought", "functionCall", "name", "args", "id", "inlineData",
             "mimeType", "data", "finishReason", "promptFeedback", "blockReason", "usageMetadata", "promptTokenCount",
             "error", "code", "status", "message", "details", "reason", "violations", "retryDelay", "thoughtSignature",
             "fileData", "fileUri", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount", "metadata"]
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
