"""Replies and streams, translated without SDK and socket."""

from __future__ import annotations

import base64
import json
from typing import Any
from unittest.mock import ANY

import pytest

from understudy import (
    Failure,
    Finish,
    FinishReason,
    Image,
    LLMResponse,
    Message,
    Request,
    StreamEvent,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from understudy.errors import (
    AuthenticationFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    MalformedResponse,
    ModelNotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
)
from understudy.response import Heartbeat
from understudy_ollama.streaming import StreamReader
from understudy_ollama.wire import response_of

REQUEST = Request(messages=(Message.user("Hello"),))
COUNTS = {"prompt_eval_count": 3, "eval_count": 2}
CALL = {"function": {"name": "weather", "arguments": {"city": "Bern"}}}


def _reply(content: Any = "Hi", *, done_reason: Any = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    return {"model": "llama3", "message": said, "done": True, "done_reason": done_reason, **COUNTS}


def _read(body: Any, request: Request = REQUEST) -> LLMResponse:
    return response_of(body, {"x-request-id": "r1"}, request)


@pytest.mark.parametrize(
    ("done_reason", "finish_reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("load", FinishReason.UNKNOWN),
        ("unload", FinishReason.UNKNOWN),
        ("of_tomorrow", FinishReason.UNKNOWN),
        (None, FinishReason.UNKNOWN),
    ],
)
def test_done_reasons(done_reason: str | None, finish_reason: FinishReason) -> None:
    response = _read(_reply(done_reason=done_reason))
    assert response.finish_reason is finish_reason
    assert (response.content, response.model, response.request_id) == ("Hi", "llama3", "r1")
    assert response.metadata.get("done_reason") == done_reason
    assert response.usage == Usage(input_tokens=3, output_tokens=2)


def test_what_the_server_measured_is_kept() -> None:
    response = _read({**_reply(), "total_duration": 9, "load_duration": 4, "prompt_eval_cached_count": 1, "x": 1})
    assert response.metadata == {"done_reason": "stop", "total_duration": 9, "load_duration": 4}
    assert response.usage == Usage(input_tokens=3, output_tokens=2, cache_read_tokens=1)


def test_a_count_that_is_0_is_left_out_and_what_was_not_counted_or_cannot_be_is_none() -> None:
    assert _read({"message": {"content": "Hi"}, "done": True}).usage is None
    assert _read({"message": {"content": "Hi"}, "done": True, "eval_count": 2}).usage == Usage(output_tokens=2)
    for count in (-1, None, "3", 1.5, True, [1], 10**13):
        for name in ("eval_count", "prompt_eval_count"):
            assert _read({**_reply(), name: count}).usage is None


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("error", ServerError),
        ("network_error", ServerError),
        ("aborted", ServerError),
        ("content_filter", ContentBlocked),
    ],
)
def test_reasons_that_mean_a_fault_are_failures(reason: str, kind: type[Failure]) -> None:
    with pytest.raises(kind) as caught:
        _read(_reply(done_reason=reason))
    assert (caught.value.code, caught.value.usage) == (reason, Usage(input_tokens=3, output_tokens=2))


def test_a_picture_is_an_answer() -> None:
    pictures = {b"\x89PNG\r\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"?": "application/octet-stream"}
    encoded = [base64.b64encode(data).decode() for data in pictures]
    images = tuple(Image(data=data, media_type=kind) for data, kind in pictures.items())
    assert _read(_reply("", images=encoded)).parts == images
    assert _response(_streamed(_lines({"images": encoded[:1]}, {"images": encoded[1:]}))).parts == images
    with pytest.raises(MalformedResponse, match="not in base64"):
        _read(_reply("", images=["%"]))


def test_arguments_may_be_the_text_of_an_object() -> None:
    call = {"function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    assert _read(_reply(tool_calls=[call])).tool_calls[0].arguments == {"city": "Bern"}


def test_parts_come_in_order_and_calls_get_ids_unlike_all_others() -> None:
    asked = Request(messages=(Message.assistant(ToolCall(id="call_1_weather", name="weather")), Message.user("And?")))
    other = {"id": "call_x", "function": {"index": 1, "name": "time", "arguments": None}}
    response = _read(_reply("Well.", thinking="Hm.", tool_calls=[CALL, other, CALL]), asked)
    assert response.parts == (
        Thinking("Hm.", {"ollama": {"thinking": "Hm."}}),
        Text("Well."),
        ToolCall(id=ANY, name="weather", arguments={"city": "Bern"}),
        ToolCall(id="call_x", name="time", arguments={}),
        ToolCall(id=ANY, name="weather", arguments={"city": "Bern"}),
    )
    assert response.finish_reason is FinishReason.TOOL_CALLS
    assert len({"call_1_weather", *(call.id for call in response.tool_calls)}) == 4


def test_calls_cut_at_the_token_limit_are_told_as_cut() -> None:
    assert _read(_reply("", done_reason="length", tool_calls=[CALL])).finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("message", [None, {}, {"content": " \n"}, {"thinking": "Hm."}, {"tool_calls": []}])
@pytest.mark.parametrize("done_reason", ["length", "load"])
def test_nothing_usable_is_an_empty_response(message: Any, done_reason: str) -> None:
    with pytest.raises(EmptyResponse, match=f"stopped by {done_reason}"):
        _read({**_reply(done_reason=done_reason), "message": message})


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "text",
        7,
        {"message": {"content": "Hi"}},
        {"message": {"content": "Hi"}, "done": False},
        {"done": True, "message": "Hi"},
        _reply(7),
        _reply(thinking=7),
        _reply(tool_calls=7),
        _reply(tool_calls=[{}]),
        _reply(tool_calls=[{"function": {"name": 7}}]),
        _reply(tool_calls=[{"function": {"arguments": {}}}]),
        _reply(tool_calls=[{"function": {"name": "weather", "arguments": "[]"}}]),
        _reply(tool_calls=[{"function": {"name": "weather", "arguments": "[" * 100_000}}]),
        {"done": True, "response": "of another API"},
    ],
)
def test_other_shapes_are_malformed(body: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected an answer") as caught:
        _read(body)
    assert (caught.value.provider, caught.value.request_id) == ("ollama", "r1")


def test_an_error_with_status_200_is_one() -> None:
    with pytest.raises(ServerError, match="no luck"):
        _read({"error": "no luck"})


def test_an_answer_under_a_schema_comes_parsed() -> None:
    request = Request(messages=REQUEST.messages, output_schema={"type": "object"})
    assert _read(_reply('{"age": 30}'), request).structured == {"age": 30}
    with pytest.raises(MalformedResponse, match="cut at max_tokens") as caught:
        _read(_reply('{"age": ', done_reason="length"), request)
    assert caught.value.provider == "ollama"


# ---- streams ----


def _lines(*messages: dict[str, Any], last: Any = None) -> bytes:
    chunks = [{"model": "llama3", "message": {"role": "assistant", **message}, "done": False} for message in messages]
    return b"".join(json.dumps(chunk, ensure_ascii=False).encode() + b"\n" for chunk in [*chunks, last or _reply("")])


def _streamed(data: bytes, size: int = 7, request: Request = REQUEST) -> list[StreamEvent]:
    reader = StreamReader({"x-request-id": "r1"}, request)
    events = [event for start in range(0, len(data), size) for event in reader.read(data[start : start + size])]
    return [*events, *reader.end()]


def _response(events: list[StreamEvent]) -> LLMResponse:
    assert isinstance(events[-1], Finish)
    return events[-1].response


# Characters at which other readers would cut a line: a next line, a line separator, a form feed.
ODD = "naïve \x85 \u2028 \x0c 🎭"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
def test_a_stream_adds_up_to_the_answer_however_it_is_cut(size: int) -> None:
    data = _lines({"thinking": "H"}, {"thinking": "m."}, {"content": ODD}, {"content": "lo"}, {"tool_calls": [CALL]})
    events = _streamed(data, size)
    assert events[:-1] == [
        ThinkingDelta("H"),
        ThinkingDelta("m."),
        TextDelta(ODD),
        TextDelta("lo"),
        ToolCallDelta(0, ANY, "weather", '{"city": "Bern"}'),
    ]
    response = _response(events)
    assert response.parts == (
        Thinking("Hm.", {"ollama": {"thinking": "Hm."}}),
        Text(f"{ODD}lo"),
        ToolCall(id=ANY, name="weather", arguments={"city": "Bern"}),
    )
    assert (response.finish_reason, response.usage) == (
        FinishReason.TOOL_CALLS,
        Usage(input_tokens=3, output_tokens=2),
    )
    assert (response.model, response.request_id) == ("llama3", "r1")


def test_calls_of_several_lines_are_counted_on() -> None:
    calls = {"tool_calls": [CALL]}
    events = _streamed(_lines(calls, calls, last=_reply("", tool_calls=[CALL])))
    told = [(event.index, event.id) for event in events if isinstance(event, ToolCallDelta)]
    assert [index for index, _ in told] == [0, 1, 2]
    assert len({identity for _, identity in told}) == 3
    assert [call.id for call in _response(events).tool_calls] == [identity for _, identity in told]


def test_the_last_line_needs_no_end_and_may_be_the_only_one() -> None:
    assert _response(_streamed(_lines(last=_reply("Hi")).rstrip(b"\n"))).content == "Hi"


def test_unknown_fields_and_what_comes_after_the_end_are_passed_over() -> None:
    data = _lines({"content": "Hi", "of_tomorrow": 1}) + b'\r\n\n{"error": "late"}\nnot json\nnor this'
    assert _response(_streamed(data)).content == "Hi"


def test_probabilities_of_all_lines_are_kept() -> None:
    first = json.dumps({"message": {"content": "Hi"}, "done": False, "logprobs": [{"token": "Hi"}]}).encode()
    response = _response(_streamed(first + b"\n" + _lines(last={**_reply(""), "logprobs": [{"token": "!"}]})))
    assert response.metadata["logprobs"] == [{"token": "Hi"}, {"token": "!"}]


LAST_LINE = len(json.dumps(_reply(""), ensure_ascii=False)) + 1


@pytest.mark.parametrize("missing", [2, 20, LAST_LINE - 1, LAST_LINE])
def test_a_stream_without_its_end_marker_is_interrupted(missing: int) -> None:
    with pytest.raises(StreamInterrupted, match="without done: true") as caught:
        _streamed(_lines({"content": "Hel"}, {"content": "lo"})[:-missing])
    assert (caught.value.partial, caught.value.request_id) == ("Hello", "r1")


def test_an_empty_stream_is_interrupted_and_one_of_nothing_usable_is_empty() -> None:
    with pytest.raises(StreamInterrupted):
        _streamed(b"")
    with pytest.raises(EmptyResponse):
        _streamed(_lines({"content": " "}))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": "no luck"}, ServerError),
        ({"StatusCode": 429, "Status": "429 Too Many Requests", "error": "slow down"}, RateLimited),
        ({"StatusCode": 401, "error": "who are you"}, AuthenticationFailed),
        ({"error": "unauthorized", "signin_url": "https://ollama.com/connect"}, AuthenticationFailed),
        ({"error": "this model requires a subscription, upgrade for access"}, PermissionDenied),
        ({"error": {"code": 400, "message": "full", "type": "exceed_context_size_error"}}, ContextTooLong),
        ({"error": "model 'x' not found"}, ModelNotFound),
    ],
)
def test_an_error_line_is_its_typed_failure(error: Any, kind: type[Failure]) -> None:
    with pytest.raises(kind):
        _streamed(_lines({"content": "Hel"}, last=error))
    with pytest.raises(kind):
        _read(error)


def test_empty_lines_are_heartbeats() -> None:
    assert list(StreamReader({}, REQUEST).read(b"\n \r\n")) == [Heartbeat()] * 2


@pytest.mark.parametrize(("pieces", "whole"), [(["Hel", "lo"], True), (["Hello"], False)])
def test_a_line_that_cannot_be_read_is_passed_over_only_where_a_piece_came_for_every_token(
    pieces: list[str], whole: bool
) -> None:
    first, *rest = _lines(*({"content": piece} for piece in pieces)).splitlines(keepends=True)
    data = b"".join([first, b'{"message": {"cont\n', *rest])
    if whole:
        assert ["a piece of the stream" in str(one) for one in _response(_streamed(data)).warnings] == [True]
    else:
        with pytest.raises(MalformedResponse, match="expected a line of JSON"):
            _streamed(data)
    with pytest.raises(MalformedResponse, match="expected a line of JSON"):
        _streamed(data[: -len(rest[-1])])


@pytest.mark.parametrize(
    "line",
    ["text", '"text"', "{}", "[]", "7", "null", '{"message": null}', '{"message": {"content": 7}}', "\xff"],
)
def test_lines_of_another_shape_are_malformed(line: str) -> None:
    for end in (b"\n", b""):
        with pytest.raises(MalformedResponse, match="expected a"):
            _streamed(line.encode("latin-1") + end)
