"""The readers of server-sent events and of lines of JSON, certified against their formats' standards."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from understudy.errors import MalformedResponse
from understudy_toolkit.ndjson import MOST_LINE_BYTES, NdjsonReader
from understudy_toolkit.sse import MOST_EVENT_BYTES, SseEvent, SseReader

COMMENT = SseEvent(b"", "", True)


def events(*pieces: bytes) -> list[SseEvent]:
    reader = SseReader()
    read = [event for piece in pieces for event in reader.feed(piece)]
    last = reader.end()
    return read if last is None else [*read, last]


def lines(*pieces: bytes) -> list[bytes]:
    reader = NdjsonReader()
    read = [line for piece in pieces for line in reader.feed(piece)]
    last = reader.end()
    return read if last is None else [*read, last]


PINGS = (
    *(b"", b" ", b"  \t", b"\ndata:", b" : keepalive", b": ", b": a\ndata: b"),
    *(b"ping", b" PING", b" [ping]", b' "heartbeat"', b" keep-alive"),
    *(b' {"type": "ping"}', b'{"type":"keepalive","sequence_number":3}', b' {\ndata: "type": "heartbeat"\ndata: }'),
)
NAMES = (b"ping", b"Ping", b"heartbeat", b"keepalive", b"keep-alive", b"keep_alive")

# https://html.spec.whatwg.org/multipage/server-sent-events.html: its own examples, and what its grammar allows
SSE = [
    (b"data: This is the first message.\n\n", [SseEvent(b"This is the first message.")]),
    (b"data: first\ndata: second\n\n", [SseEvent(b"first\nsecond")]),
    (b"event: add\ndata: 73857293\n\n", [SseEvent(b"73857293", "add")]),
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", [SseEvent(b"YHOO\n+2\n10")]),
    (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [COMMENT, SseEvent(b"first event"), SseEvent(b"second event"), SseEvent(b" third event")],
    ),
    (b"data\n\ndata\ndata\n\ndata:", [COMMENT, COMMENT]),  # events there; nothing is in them
    (b"data:test\n\ndata: test\n\n", [SseEvent(b"test"), SseEvent(b"test")]),
    (b"\xef\xbb\xbfdata: 1\n\n", [SseEvent(b"1")]),
    (b"data: \xef\xbb\xbf1\n\n\xef\xbb\xbfdata: 2\n\n", [SseEvent(b"\xef\xbb\xbf1")]),  # only the first mark is none
    (b"data: 1\r\n\r\ndata: 2\r\rdata: 3\n\n", [SseEvent(b"1"), SseEvent(b"2"), SseEvent(b"3")]),
    (b"data: 1\r\ndata: 2\rdata: 3\n\r\n", [SseEvent(b"1\n2\n3")]),
    (b"\n\r\n\r\n\rdata: 1\n\n", [SseEvent(b"1")]),
    (b"retry: 10\nid: 1\nfoo: bar\nDATA: no\n data: no\ndata : no\n\n", []),
    (b"event: done\n\n", [SseEvent(b"", "done")]),  # otherwise than in the standard: some events are no more
    (b"event: done\ndata:\n\n", [SseEvent(b"", "done")]),
    (b"event: one\nevent: two\ndata: 1\n\ndata: 2\n\n", [SseEvent(b"1", "two"), SseEvent(b"2")]),
    (b":\n:a\n\n", [COMMENT, COMMENT]),
    (b"data: a:b: c\n\n", [SseEvent(b"a:b: c")]),
    ("data: ☕\u2028\u0085\x0b\x0c\x1c\n\n".encode(), [SseEvent("☕\u2028\u0085\x0b\x0c\x1c".encode())]),
    (b"data: 1\x00\n\n", [SseEvent(b"1\x00")]),
    (b"event: \xff\ndata: a\xff\xe2\x98b\n\n", [SseEvent("a\ufffd\ufffdb".encode(), "\ufffd")]),
    (b"id: \x00\nretry: x\n\x00\ndata: 1\n\n", [SseEvent(b"1")]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\ndata: 2\n\n", [SseEvent(b"2")]),
    (b"\xef\xbb\xbf\r\n\xef\xbb\xbf", []),
    (b"data: 1\n\ndata: [DONE]", [SseEvent(b"1"), SseEvent(b"[DONE]")]),  # otherwise: some servers end so
    (b"data: 1\n\ndata: [DONE]\n", [SseEvent(b"1"), SseEvent(b"[DONE]")]),
    (b"data: 1\n\ndata: [DONE]\r", [SseEvent(b"1"), SseEvent(b"[DONE]")]),
    (b"data: 1\n\nda", [SseEvent(b"1")]),
    (b"data: 1\n\nevent: end\ndata: {", [SseEvent(b"1"), SseEvent(b"{", "end")]),
    (b"data: 1\n\n: there", [SseEvent(b"1")]),
    (b"", []),
    # signs of life that are sent as events
    *((b"data:" + ping + b"\n\ndata: 1\n\n", [COMMENT, SseEvent(b"1")]) for ping in PINGS),
    *((b"event: " + name + b"\ndata: {}\n\n", [COMMENT]) for name in NAMES),
    *((b"event:" + name + b"\n\n", [COMMENT]) for name in NAMES),
    (b"data: pinged\n\n", [SseEvent(b"pinged")]),
    (b'data: {"type": "pin"}\n\n', [SseEvent(b'{"type": "pin"}')]),
    (b'data: {"type": "ping", "error": {}}\n\n', [SseEvent(b'{"type": "ping", "error": {}}')]),
    # errors that are no field, or a field of their own
    (b'error: {"code": 400}\n\n', [SseEvent(b'{"code": 400}', "error")]),
    (b'data: 1\n\n{"error":\r\n\t"x: y"\n}\n\n: z\n\n', [SseEvent(b"1"), SseEvent(b'{"error":\n\t"x: y"\n}'), COMMENT]),
    (b'\xef\xbb\xbf{"error": "x"}\ndata: [DONE]\n\n', [SseEvent(b'{"error": "x"}'), SseEvent(b"[DONE]")]),
    (b'[{"error":\n{"a": 1}}\n]\n\nevent: a', [SseEvent(b'[{"error":\n{"a": 1}}\n]'), SseEvent(b"", "a")]),
    (b'data: 1\n{"no": "data"}\n\n', [SseEvent(b"1")]),
]


@pytest.mark.parametrize(("wire", "read"), SSE, ids=[str(wire) for wire, _ in SSE])
def test_events_are_read_as_the_standard_says_wherever_the_bytes_are_cut(wire: bytes, read: list[SseEvent]) -> None:
    assert events(wire) == read
    assert events(*(wire[at : at + 1] for at in range(len(wire)))) == read
    for at in range(len(wire) + 1):
        assert events(wire[:at], wire[at:]) == read
    chance = random.Random(1)
    for _ in range(50):
        cuts = sorted(chance.choices(range(len(wire) + 1), k=5))
        assert events(*(wire[a:b] for a, b in pairwise([0, *cuts, len(wire)]))) == read


def test_an_event_that_is_too_long_is_malformed_before_it_is_held() -> None:
    assert MOST_EVENT_BYTES == 16 * 2**20
    for wire in (b"data: " + b"x" * 2000, b"data:xxxxxxxxxxxxxxx\n" * 2000, b":" + b"x" * 2000, b"y" * 2000):
        reader = SseReader(most_bytes=1000)
        pieces = [wire[at : at + 100] for at in range(0, len(wire), 100)]
        with pytest.raises(MalformedResponse, match="at most 1,000 bytes"):
            list(map(reader.feed, pieces[:20]))


def test_a_line_of_100_megabytes_is_refused_after_its_first_sixteen() -> None:
    for reader in (SseReader(), NdjsonReader()):
        assert [reader.feed(b"x" * 10**6) for _ in range(16)] == [[]] * 16
        with pytest.raises(MalformedResponse, match="at most 16,777,216 bytes"):
            reader.feed(b"x" * 10**6)


def test_many_events_may_be_longer_together_and_one_may_come_in_many_pieces() -> None:
    reader = SseReader(most_bytes=1000)
    for _ in range(100):
        assert [event for _ in range(9) for event in reader.feed(b"data: " + b"x" * 90 + b"\n")] == []
        assert len(reader.feed(b"\n")) == 1
        assert [event for piece in [b"data: ", *[b"x" * 90] * 10] for event in reader.feed(piece)] == []
        assert len(reader.feed(b"\n\n")) == 1


# https://github.com/ndjson/ndjson-spec
NDJSON = [
    (b'{"a": 1}\n{"b": 2}\n', [b'{"a": 1}', b'{"b": 2}']),
    (b'{"a": 1}\r\n{"b": 2}', [b'{"a": 1}', b'{"b": 2}']),
    (b'\n\r\n  \n{"a":\r1}\n\n', [b"", b"", b"", b'{"a":\r1}', b""]),  # empty lines are signs of life
    (b'\xef\xbb\xbf{"a": 1}\n', [b'{"a": 1}']),
    ('{"a": "☕\u2028\u0085"}\n'.encode(), ['{"a": "☕\u2028\u0085"}'.encode()]),
    (b'{"a": 1}\n{"cut', [b'{"a": 1}', b'{"cut']),
    (b'{"a": "\xff\xe2\x98"}\n"\x00"', ['{"a": "\ufffd\ufffd"}'.encode(), b'"\x00"']),
    (b'\xef\xbb\xbf\n{"a": 1}', [b"", b'{"a": 1}']),
    (b"", []),
]


@pytest.mark.parametrize(("wire", "read"), NDJSON, ids=[str(wire) for wire, _ in NDJSON])
def test_lines_are_read_as_the_specification_says_wherever_the_bytes_are_cut(wire: bytes, read: list[bytes]) -> None:
    assert lines(wire) == read
    assert lines(*(wire[at : at + 1] for at in range(len(wire)))) == read
    for at in range(len(wire) + 1):
        assert lines(wire[:at], wire[at:]) == read


def test_a_line_that_is_too_long_is_malformed_before_it_is_held() -> None:
    assert MOST_LINE_BYTES == 16 * 2**20
    reader = NdjsonReader(most_bytes=1000)
    for _ in range(100):
        assert reader.feed(b"x" * 900 + b"\n") == [b"x" * 900]
    with pytest.raises(MalformedResponse, match="at most 1,000 bytes"):
        list(map(reader.feed, [b"x" * 100] * 11))
