"""The bytes of a stream as its chunks: events or one array, however they are cut and whatever stands between them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import Failure, Finish, LLMResponse, Message, Request, StreamInterrupted
from understudy.errors import MalformedResponse, Overloaded, ServerError
from understudy.response import Heartbeat
from understudy_gemini_wire.chunks import ChunkReader
from understudy_gemini_wire.streaming import StreamReader, response_of_document
from understudy_gemini_wire.wire import Asked

ASKED = Asked(Request(messages=(Message.user("a"),)), "gemini", "m")
BOM = b"\xef\xbb\xbf"


def cut(data: bytes, size: int) -> list[Any]:
    reader = ChunkReader()
    chunks = [chunk for at in range(0, len(data), size) for chunk in reader.feed(data[at : at + size])]
    return [*chunks, *reader.end()]


def answered(data: bytes, size: int = 7) -> tuple[list[Any], LLMResponse]:
    reader = StreamReader(ChunkReader(), {}, ASKED)
    events = [event for at in range(0, len(data), size) for event in reader.read(data[at : at + size])]
    *more, end = reader.end()
    assert isinstance(end, Finish)
    return [event for event in [*events, *more] if event != Heartbeat()], end.response


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", [b"", BOM])
def test_events_are_the_same_however_they_are_cut(size: int, end: str, before: bytes) -> None:
    first, second = {"text": "ü\u2028\u0085€"}, {"text": "x\n"}
    lines = [
        ": hello",
        "event: x",
        f"data: {json.dumps(first, ensure_ascii=False)}",
        "",
        *("data:", "", "data: : keepalive", "", "event: ping", "data: {}", "", "data: [DONE]", ""),
        "data:[",
        f"data: {json.dumps(second)}]",
    ]
    for last in (["", ""], []):
        chunks = cut(before + end.join([*lines, *last]).encode(), size)
        assert [chunk for chunk in chunks if chunk is not None] == [first, [second]]
        assert chunks.count(None) == 5


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", [b"", BOM, b"\n "])
def test_elements_are_the_same_however_they_are_cut(size: int, indent: int | None, before: bytes) -> None:
    elements = [{"text": "\u2028{€\\"}, {"a": [{"b": {}}]}, {"\\\\": '}]"\\', "c": "[,\n"}, {}]
    text = ",\r\n".join(json.dumps(element, ensure_ascii=False, indent=indent) for element in elements)
    assert cut(before + f"[{text}\r\n]".encode(), size) == elements
    assert cut(before + f"[{text}\r\n".encode(), size) == elements


@pytest.mark.parametrize(
    ("data", "chunks"),
    [
        (b'{\n"error": {"code": 503}\n}', [{"error": {"code": 503}}]),
        (b'[{"error": {"code": 503}}]', [{"error": {"code": 503}}]),
        (b'[{"a": 1}\n,\n{"b"', [{"a": 1}]),
        (b'[{"a": "\\', []),
        (b'data: {"a": 1}\n\ndata: {"b"', [{"a": 1}]),
        (b'event: error\ndata: {"message": "no"}\n\n', [{"message": "no"}]),
        (b"event: error\ndata: no\n\n", [{"error": "no"}]),
        (b'event: error\ndata: {"error": {"code": 503}}', [{"error": {"code": 503}}]),
        (b"[]", []),
        (BOM, []),
        (b"", []),
    ],
)
def test_what_was_whole_is_a_chunk(data: bytes, chunks: list[Any]) -> None:
    assert cut(data, 4) == chunks


@pytest.mark.parametrize(
    "data", [b"<html>\n</html>", b'<html class="a">{"a": 1}</html>', b'[{"a": "broken\r\n,{"b": 1}]', b"[1, 2]"]
)
def test_a_stream_of_something_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedResponse, match=r"expected a stream in JSON, found"):
        cut(data, 5)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 9), st.sampled_from([b"", b"[", b"data: ", BOM]))
def test_no_bytes_bring_anything_but_chunks_or_our_failure(data: bytes, size: int, before: bytes) -> None:
    for read in (cut, answered):
        try:
            read(before + data, size)
        except Failure:
            continue


# ---- what the whole of a stream is ----


def chunk(text: str | None = None, reason: str | None = None, written: int | None = None) -> bytes:
    told: dict[str, Any] = {"candidates": [{}]}
    if text is not None:
        told["candidates"][0]["content"] = {"parts": [{"text": text}]}
    if reason is not None:
        told["candidates"][0]["finishReason"] = reason
    if written is not None:
        told["usageMetadata"] = {"promptTokenCount": 3, "candidatesTokenCount": written}
    return json.dumps(told).encode()


def events(*chunks: bytes) -> bytes:
    return b"".join(b"data: " + one + b"\n\n" for one in chunks)


BROKEN = b'{"candidates": [{"con'


@pytest.mark.parametrize(
    "data",
    [
        events(chunk("pong", "STOP", 2), BROKEN),
        events(chunk("pong", None, 2), BROKEN, chunk(None, "STOP", 2)),
        events(chunk("pong", None, 2), b'"a text"', b"12", chunk(None, "STOP", 2)),
        b"[" + b",".join([chunk("pong", None, 2), b"{broken}", chunk(None, "STOP", 2)]) + b"]",
    ],
)
def test_a_broken_chunk_in_which_nothing_can_have_been_is_a_warning(data: bytes) -> None:
    _, response = answered(data)
    assert response.content == "pong"
    assert [warning.setting for warning in response.warnings] == ["stream"]


@pytest.mark.parametrize(
    "data",
    [
        events(chunk("po", None), BROKEN, chunk("ng", "STOP", 2)),
        events(chunk("po", None, 1), BROKEN, chunk("ng", "STOP", 2)),
        events(chunk("po", None, 1), BROKEN, chunk(None, "STOP", 2)),
        events(chunk("po", None, 1), BROKEN),
        events(chunk("pong", "STOP"), BROKEN),
        events(b"{}"),
        b"{}",
    ],
)
def test_any_other_broken_chunk_ends_the_stream(data: bytes) -> None:
    with pytest.raises(MalformedResponse):
        answered(data)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}, Overloaded),
        ([{"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}], Overloaded),
        (
            {"error": {"code": 500, "message": json.dumps({"error": {"code": 503, "status": "UNAVAILABLE"}})}},
            Overloaded,
        ),
        ({"code": 503, "message": "no", "status": "UNAVAILABLE"}, Overloaded),
        ({"candidates": [{"error": {"status": "UNAVAILABLE"}}]}, Overloaded),
        ({"error": "no"}, ServerError),
        ({"errors": [{"message": "no"}]}, ServerError),
        ({"detail": "no"}, ServerError),
    ],
)
def test_an_error_ends_a_stream_whatever_its_shape(error: Any, failure: type[Failure]) -> None:
    written = json.dumps(error).encode()
    for data in (
        events(chunk("po", None, 1), written) + b"data: [DONE]\n\n",
        events(chunk("po", None, 1)) + b"event: error\ndata: " + written + b"\n\n",
        b"[" + chunk("po", None, 1) + b"," + written.strip(b"[]") + b"]",
        written,
    ):
        with pytest.raises(failure) as caught:
            answered(data)
        assert type(caught.value) is failure


def test_a_marker_of_the_end_does_not_make_an_answer_whole() -> None:
    with pytest.raises(StreamInterrupted):
        answered(events(chunk("po", None, 1), b"[DONE]"))


def test_a_whole_reply_may_come_as_a_list_of_chunks() -> None:
    document = [json.loads(one) for one in (chunk("po", None, 1), chunk("ng", "STOP", 2))]
    assert response_of_document(document, {}, ASKED).content == "pong"
    with pytest.raises(Overloaded):
        response_of_document([document[0], {"error": {"code": 503}}], {}, ASKED)
    for broken in ([], [1], [document[0]]):
        with pytest.raises(Failure):
            response_of_document(broken, {}, ASKED)
