"""JSON that is none: numbers that it does not have, what is nested too deep, and pages behind a byte order mark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from understudy.errors import MalformedResponse
from understudy_toolkit import calls
from understudy_toolkit.bodies import read_json
from understudy_toolkit.conformance import FaultServer, Reply
from understudy_toolkit.http import HttpLane
from understudy_toolkit.lanes import Ask
from understudy_toolkit.tool_calls import checked_arguments

REPLIES = calls.Replies("x", lambda status, headers, body: MalformedResponse("a page"))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"])
def test_a_number_that_json_does_not_have_is_null_or_refused(number: str) -> None:
    assert read_json(f'{{"logprob": {number}, "text": "fine", "other": -1.5e3}}') == {
        "logprob": None,
        "text": "fine",
        "other": -1500.0,
    }
    with pytest.raises(ValueError, match="no number"):
        read_json(f'{{"amount": {number}}}', strict=True)


def test_arguments_are_kept_if_they_can_be_sent_again() -> None:
    deep: dict[str, object] = {}
    for _ in range(200):
        deep = {"a": [deep]}
    assert checked_arguments({"a": [1.5, {"b": None}]}) == {"a": [1.5, {"b": None}]}
    for arguments in ({"a": float("nan")}, {"a": [{"b": float("inf")}]}, deep):
        with pytest.raises(ValueError, match=r"no such number|too deep"):
            checked_arguments(arguments)


@pytest.mark.parametrize(
    "pieces", [(b"\xef\xbb\xbf<html>",), (b"\xef", b"\xbb", b"\xbf<html>"), (b"\xef\xbb\xbf", b"<p>")]
)
def test_a_page_behind_a_byte_order_mark_is_no_stream(pieces: tuple[bytes, ...]) -> None:
    def reader_of(headers: object) -> calls.Reader:
        raise AssertionError("it was read as a stream")

    with FaultServer(lambda request: Reply(pieces=pieces, content_type="text/html")) as server:
        lane = HttpLane(server.url, dict)
        events: Iterator[object] = calls.stream(lane, Ask(path="/", seconds=10.0, stream=True), REPLIES, reader_of)
        with pytest.raises(MalformedResponse, match="a page"):
            list(events)
        lane.close()
