"""Replies made wrong on purpose: statuses, headers, encodings, whole bodies, and streams."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import strategies as some

from fuzz import trees
from fuzz.corpus import KEY
from fuzz.lane import Sent

STATUSES = (200, 200, 200, 201, 204, 206, 207, 299, 300, 302, 304, 400, 401, 402, 403, 404, 405, 408, 409, 413, 418)
STATUSES += (421, 422, 424, 425, 429, 431, 451, 498, 499, 500, 501, 502, 503, 504, 505, 520, 524, 529, 599, 600, 999)
MOMENTS = (
    *("", " ", "0", "-1", "30", "1.5", "1e400", "nan", "inf", "-inf", "9" * 400, "9" * 5_000, "soon", "6m30.5s", "1h"),
    *("9" * 400 + "h", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99 Oct 99999 99:99:99 GMT", "2026-12-01T00:00:00Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1700000000", "17000000000000", "\u0663", "1_000"),
    *("Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359", "1" * 30 + "ms", ",", "30, 30", "0x10"),
    *("Sat, 29 Feb 2026 25:61:61 +9999999999", "1,2,3", "(((((", "Mon", "1 Jan", "12:00", '"', "\\", "<a@b>"),
)
TIMES = ("retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "x-ratelimit-reset-requests")
TIMES += ("anthropic-ratelimit-requests-reset", "x-ratelimit-remaining", "anthropic-ratelimit-requests-remaining")
KINDS = (
    *("application/json", "text/event-stream", "text/html", "application/x-ndjson", "text/plain", "application/xml"),
    *("", ";", "text/event-stream; charset=utf-16", "APPLICATION/JSON;charset=latin-1", "x" * 5_000, "a/b, c/d"),
)
OTHERS = ("request-id", "x-request-id", "location", "x-should-retry", "x-goog-request-id", "via", "content-length")
VALUES = ("", "true", "false", KEY, f"http://a:{KEY}@host/", "a" * 8_000, "\xff\xfe", "\x00", "\t", "0", "None")
ENCODINGS = ("gzip", "x-gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "GZIP", "", "compress", "\xff")
SPOILED = ("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "cp1252")


def rarely(draw: Callable[[Any], Any], times: int) -> bool:
    """Return True once in so many times."""
    return bool(draw(some.integers(1, times)) == times)


def headers(draw: Callable[[Any], Any], sent: Sent) -> Sent:
    """Give a reply one or two headers that are nonsense."""
    for _ in range(draw(some.integers(0, 2))):
        name = draw(some.sampled_from(("content-type", *TIMES, *OTHERS)))
        values = KINDS if name == "content-type" else MOMENTS if name in TIMES else VALUES
        sent = replace(sent, headers=(*sent.headers, (name, draw(some.sampled_from(values)))))
        if draw(some.booleans()):
            sent = sent.with_headers(**{name.replace("-", "_"): sent.headers[-1][1]})
    return sent


def encoded(draw: Callable[[Any], Any], sent: Sent) -> Sent:
    """Compress a body, or say so, and perhaps break it."""
    encoding = draw(some.sampled_from(ENCODINGS))
    body = sent.body
    match draw(some.sampled_from(("gzip", "zlib", "raw", "twice", "plain"))):
        case "gzip":
            body = gzip.compress(body, 1)
        case "zlib":
            body = zlib.compress(body, 1)
        case "raw":
            body = zlib.compress(body, 1)[2:-4]
        case "twice":
            body = gzip.compress(body, 1) * 2
    return replace(sent, body=mangled(draw, body), headers=(*sent.headers, ("content-encoding", encoding)))


def mangled(draw: Callable[[Any], Any], body: bytes) -> bytes:
    """Change a few bytes, or none."""
    for _ in range(draw(some.integers(0, 2))):
        place = draw(some.integers(0, len(body)))
        match draw(some.sampled_from(("cut", "flip", "drop", "insert", "repeat"))):
            case "cut":
                body = body[:place]
            case "flip" if body:
                place = min(place, len(body) - 1)
                body = body[:place] + bytes([body[place] ^ (1 << draw(some.integers(0, 7)))]) + body[place + 1 :]
            case "drop":
                body = body[:place] + body[place + draw(some.integers(1, 40)) :]
            case "insert":
                body = body[:place] + draw(some.binary(max_size=6) | some.sampled_from(BYTES)) + body[place:]
            case "repeat":
                body = body[:place] + body[max(0, place - draw(some.integers(1, 80))) :]
    return body


BYTES = (b"\r", b"\n", b"\n\n", b"\xef\xbb\xbf", b"\x00", b"\xff", b"\xed\xa0\x80", b"\x85", b"\xe2\x80\xa8", b"data:")


def pieces(draw: Callable[[Any], Any], sent: Sent) -> Sent:
    """Cut a body into pieces anywhere."""
    size = len(sent.body)
    cuts = draw(some.lists(some.integers(0, size), max_size=6) | some.sampled_from(("bytes", "sevens")))
    if isinstance(cuts, str):
        cuts = range(1, size, 1 if cuts == "bytes" and size < 20_000 else 7)
    return replace(sent, cuts=tuple(sorted(cuts)))


def whole(draw: Callable[[Any], Any], sent: Sent, others: Sequence[Sent]) -> Sent:
    """Return a reply that is asked for as a whole, spoiled."""
    found = [tree for other in others if (tree := tree_of(other.body)) is not None]
    tree = deepcopy(tree_of(sent.body))
    if tree is None or rarely(draw, 20):
        body = draw(some.sampled_from((b"", b"<html>", b"null", b"[]", b"{}", b"0", b'"text"', sent.body)))
    elif rarely(draw, 10):
        body = sent.body
    else:
        body = trees.write(trees.spoil(draw, tree, found)).encode("utf-8", "surrogatepass")
    body = keyed(draw, body)
    if rarely(draw, 8):
        body = body.decode("utf-8", "replace").encode(draw(some.sampled_from(SPOILED)), "replace")
    if rarely(draw, 6):
        body = mangled(draw, body)
    sent = replace(sent, body=body)
    if rarely(draw, 4):
        sent = replace(sent, status=draw(some.sampled_from(STATUSES)))
    return framed(draw, sent)


def framed(draw: Callable[[Any], Any], sent: Sent) -> Sent:
    """Give a reply odd headers, encodings and pieces."""
    if rarely(draw, 3):
        sent = headers(draw, sent)
    if rarely(draw, 10):
        sent = encoded(draw, sent)
    return pieces(draw, sent)


def keyed(draw: Callable[[Any], Any], body: bytes) -> bytes:
    """Have the server say the key, in one of the texts."""
    if not rarely(draw, 5):
        return body
    found = [match.start(1) for match in _MESSAGES.finditer(body)]
    if not found:
        return body
    place = found[draw(some.integers(0, len(found) - 1))]
    return body[:place] + f"the key {KEY} is ".encode() + body[place:]


_MESSAGES = re.compile(rb'"(?:message|code|type|id|status|param|finish_reason|error|request_id|reason)" ?: ?"([^"]*)')


@cache
def tree_of(body: bytes) -> Any:
    """Return the tree of a body, not to be changed; None where it is none."""
    try:
        return trees.parse(body)
    except ValueError:
        return None


# ---- streams ----

FOREIGN = (
    'data: {"error": {"message": "Overloaded", "type": "overloaded_error"}}',
    'event: error\ndata: {"type": "error", "error": {"type": "api_error", "message": "no"}}',
    'data: {"error": "something"}',
    "event: error\ndata: gone",
    'error: {"message": "x", "code": 429}',
    '{"error": {"code": 503, "status": "UNAVAILABLE", "message": "x"}}',
    'data: {"error": {"code": "' + "9" * 5_000 + '", "message": null}}',
    'data: {"detail": [{"msg": "x", "type": "y"}]}',
    "data: {}",
    "data: null",
    "data: []",
    "data: 0",
    "data: [DONE]",
    "data:",
    ": comment",
    ":",
    "event: ping\ndata: {}",
    "event: " + "x" * 3_000,
    "data: " + "[" * trees.DEEP,
    "data: {",
    "retry: 99999999999999999999",
    "id: \x00",
    "nonsense",
    "[DONE]",
    "<html>",
)


def stream(draw: Callable[[Any], Any], sent: Sent, others: Sequence[Sent]) -> Sent:
    """Return a reply that is asked for as a stream, spoiled."""
    events, joint = events_of(sent.body)
    found = [tree for other in others for tree in trees_of(other.body)]
    for _ in range(draw(some.integers(0, 3))):
        place = draw(some.integers(0, len(events) - 1)) if events else 0
        match draw(some.sampled_from(("spoil", "spoil", "spoil", "drop", "repeat", "swap", "foreign", "cut"))):
            case "spoil" if events:
                events[place] = _spoiled(draw, events[place], found)
            case "drop" if events:
                del events[place]
            case "repeat" if events:
                events.insert(draw(some.integers(0, len(events))), events[place])
            case "swap" if events:
                other = draw(some.integers(0, len(events) - 1))
                events[place], events[other] = events[other], events[place]
            case "foreign":
                events.insert(place, draw(some.sampled_from(FOREIGN)))
            case "cut":
                del events[place:]
    body = keyed(draw, joint.join(events).encode("utf-8", "surrogatepass"))
    if rarely(draw, 4):
        body = mangled(draw, body)
    if rarely(draw, 4):
        body = ends(draw, body)
    sent = replace(sent, body=body)
    if rarely(draw, 20):
        sent = replace(sent, status=draw(some.sampled_from(STATUSES)))
    return framed(draw, sent)


def ends(draw: Callable[[Any], Any], body: bytes) -> bytes:
    """Write the line ends in another way."""
    return body.replace(b"\r\n", b"\n").replace(b"\n", draw(some.sampled_from((b"\r\n", b"\r", b"\n", b"\n\n"))))


def events_of(body: bytes) -> tuple[list[str], str]:
    """Cut a stream that is sound into its events; return what stands between them, too."""
    text = body.decode("utf-8", "replace").replace("\r\n", "\n")
    joint = "\n\n" if "\n\n" in text else "\n"
    return text.split(joint), joint


@cache
def trees_of(body: bytes) -> list[Any]:
    """Return the trees of a stream's events, not to be changed."""
    return [tree for event in events_of(body)[0] if (tree := _tree(event)) is not None]


def _tree(event: str) -> Any:
    start = event.find("{")
    try:
        return trees.parse(event[start:].rstrip().rstrip(",]")) if start >= 0 else None
    except ValueError:
        return None


def _spoiled(draw: Callable[[Any], Any], event: str, others: Sequence[Any]) -> str:
    tree = _tree(event)
    if tree is None:
        return event
    return event[: event.find("{")] + trees.write(trees.spoil(draw, tree, others))
