"""The http lane on real sockets: what it sends, what it reads, and where it stops."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from peers import KEY, Peer, Server, Way, answers, chunked, lane_to, whole

from understudy.errors import ConnectionFailed, InvalidRequest, MalformedResponse
from understudy_toolkit.conformance.asking import unclosed
from understudy_toolkit.http import HttpLane
from understudy_toolkit.lanes import MOST_BYTES, REFUSED, Ask

FINE = whole(b'{"fine": true}')
STREAM = chunked(b"data: 1\n\n", b"data: 2\n\n")


def test_a_request_carries_what_it_must_and_the_key(way: Way) -> None:
    with Server(answers(FINE)) as server, lane_to(server.url + "/base/") as lane:
        got = way(lane, way.ask(headers={"Anthropic-Version": "2026-10-21"}, query={"limit": "1 0"}))
    assert (got.status, json.loads(got.body)) == (200, {"fine": True})
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first == "POST /base/v1/messages?limit=1+0 HTTP/1.1"
    assert body == '{"a":"ü"}'.encode()
    assert headers.pop("user-agent").startswith("understudy/")
    assert headers == {
        "host": server.url.removeprefix("http://"),
        "accept": "application/json",
        "accept-encoding": "identity" if way.streams else "gzip",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "anthropic-version": "2026-10-21",
        "authorization": f"Bearer {KEY}",
    }


def test_a_request_without_a_body(way: Way) -> None:
    with Server(answers(FINE)) as server, lane_to(server.url) as lane:
        assert way(lane, way.ask("/v1/models", method="GET", body=None)).status == 200
    assert server.requests[0].startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"content-" not in server.requests[0].lower()


def test_a_large_request_arrives_whole(way: Way) -> None:
    with Server(answers(FINE)) as server, lane_to(server.url) as lane:
        assert way(lane, way.ask(body={"a": "x" * 3_000_000})).status == 200
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2]) == {"a": "x" * 3_000_000}


@pytest.mark.parametrize("path", ["//evil.example/v1", "@evil.example", "/v1/a b\r\nx: y?#", "/../v1"])
def test_a_path_stays_at_the_address(way: Way, path: str) -> None:
    with Server(answers(FINE)) as server, lane_to(server.url) as lane:
        assert way(lane, way.ask(path)).status == 200
    first, *others = server.requests[0].split(b"\r\n")
    assert first.startswith(b"POST /")
    assert first.count(b" ") == 2
    assert b"x: y" not in others


@pytest.mark.parametrize(
    "more",
    [{"headers": {"x": "a\r\nb: c"}}, {"headers": {"x\n": "a"}}, {"body": {"a": float("nan")}}, {"body": {1, 2}}],
)
def test_what_http_or_json_cannot_hold_is_refused_and_nothing_is_sent(way: Way, more: dict[str, object]) -> None:
    with Server(answers(FINE)) as server, lane_to(server.url) as lane, pytest.raises(InvalidRequest):
        way(lane, way.ask(**more))  # type: ignore[arg-type]
    assert server.requests == []


def test_half_of_a_character_never_reaches_a_socket(way: Way) -> None:
    with Server(answers(FINE)) as server, lane_to(server.url) as lane:
        assert way(lane, way.ask(body={"a": "\ud800 \U0001f600"})).status == 200
    assert server.requests[0].endswith('{"a":"? 😀"}'.encode())


def test_a_lane_that_is_let_go_of_closes_its_connections_and_nobody_is_warned() -> None:
    with Server(answers(FINE)) as server:
        with unclosed() as left:
            lane = HttpLane(server.url, dict)
            ring: list[object] = [lane]
            ring.append(ring)  # only the garbage collector ends it, in an order of its own
            assert lane.send(Ask(path="/", seconds=5, body={})).read() == b'{"fine": true}'
            del lane, ring
        assert server.ended.acquire(timeout=20)
    assert left == []


def test_a_redirection_is_handed_back(way: Way) -> None:
    moved = whole(b"", "location: http://127.0.0.1:9/", status="307 Temporary Redirect")
    with Server(answers(moved)) as server, lane_to(server.url) as lane:
        got = way(lane, way.ask())
    assert (got.status, got.headers["Location"], server.connections) == (307, "http://127.0.0.1:9/", 1)


def test_headers_are_found_in_any_case_and_joined(way: Way) -> None:
    with Server(answers(whole(b"{}", "Request-ID: req_1", "x-a: 1", "X-A: 2"))) as server, lane_to(server.url) as lane:
        headers = way(lane, way.ask()).headers
    assert (headers["request-id"], headers["REQUEST-ID"], headers["x-a"]) == ("req_1", "req_1", "1, 2")
    assert headers.get("nothing") is None
    assert "req_1" not in repr(headers)


def test_interim_replies_are_passed_over(way: Way) -> None:
    with Server(answers(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + FINE)) as server, lane_to(server.url) as lane:
        assert way(lane, way.ask()).status == 200


SYNC = Way("sync", False, False)


def test_a_head_may_have_a_continued_line_and_one_that_is_no_header() -> None:
    reply = b"HTTP/1.1 200\r\nx-a: 1\r\n  2\r\nno header\r\nX-B :3\r\ncontent-length: 2, 2\r\n\r\n{}"
    with Server(answers(reply, FINE)) as server, lane_to(server.url) as lane:
        got = SYNC(lane, SYNC.ask())
        assert (got.headers["x-a"], got.headers["x-b"], got.body) == ("1 2", "3", b"{}")
        assert SYNC(lane, SYNC.ask()).body == b'{"fine": true}'
    assert server.connections == 1


@pytest.mark.parametrize(
    ("version", "said", "connections"),
    [("1.0", "x: y", 2), ("1.0", "Connection: Keep-Alive", 1), ("1.1", "connection: Close", 2), ("1.1", "x: y", 1)],
)
def test_a_connection_is_kept_where_the_server_keeps_it(version: str, said: str, connections: int) -> None:
    reply = FINE.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1).replace(b"\r\n", f"\r\n{said}\r\n".encode(), 1)
    with Server(answers(reply, reply)) as server, lane_to(server.url) as lane:
        for _ in range(2):
            assert SYNC(lane, SYNC.ask()).body == b'{"fine": true}'
    assert server.connections == connections


@pytest.mark.parametrize("head", ["HTTP/2 200 OK", "HTTP/1.1 99 Low", "HTTP/1.1 2000 High", "HTTP/1.1 ²00 OK"])
def test_a_status_line_of_another_kind_is_malformed(head: str) -> None:
    with Server(answers(f"{head}\r\ncontent-length: 2\r\n\r\n{{}}".encode("latin-1"))) as server:
        with lane_to(server.url) as lane, pytest.raises(MalformedResponse, match="expected HTTP"):
            SYNC(lane, SYNC.ask())


# ---- bodies ----


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"x" * 3_000_000)),
        ("GZIP", gzip.compress(b"x" * 1_000_000) + gzip.compress(b"x" * 2_000_000)),
        ("deflate", zlib.compress(b"x" * 3_000_000)),
        ("deflate", _deflated(b"x" * 3_000_000)),
        ("identity", b"x" * 3_000_000),
    ],
    ids=["gzip", "two members", "zlib", "deflate", "plain"],
)
def test_a_body_is_decoded(way: Way, encoding: str, body: bytes) -> None:
    replies = [whole(body, f"content-encoding: {encoding}"), chunked(body, headers=(f"content-encoding: {encoding}",))]
    for reply in replies:
        with Server(answers(reply)) as server, lane_to(server.url) as lane:
            assert way(lane, way.ask()).body == b"x" * 3_000_000


@pytest.mark.parametrize(("encoding", "body"), [("br", b"x"), ("gzip", b"no gzip"), ("gzip, br", b"x")])
def test_a_body_that_cannot_be_decoded_is_malformed(way: Way, encoding: str, body: bytes) -> None:
    with Server(answers(whole(body, f"content-encoding: {encoding}"))) as server, lane_to(server.url) as lane:
        with pytest.raises(MalformedResponse, match="expected a"):
            way(lane, way.ask())


@pytest.mark.parametrize("way", [Way("sync", False, False), Way("async", True, False)], ids=str)
@pytest.mark.parametrize("bomb", [True, False])
def test_a_body_that_is_too_large_is_malformed_before_it_is_held(way: Way, bomb: bool) -> None:
    assert MOST_BYTES == 64 * 2**20
    reply = whole(gzip.compress(bytes(50_000_000)), "content-encoding: gzip") if bomb else whole(bytes(5_000_000))
    with Server(answers(reply)) as server, lane_to(server.url) as lane:
        with pytest.raises(MalformedResponse, match="at most 4,000,000 bytes"):
            way(lane, way.ask(most_bytes=4_000_000))


CUT = [
    whole(b'{"fine": true}')[:-3],
    chunked(b"data: 1\n\n", end=b""),
    chunked(b"data: 1\n\n", end=b"5\r\nda"),
    chunked(b"data: 1\n\n", end=b"5\r"),
]


@pytest.mark.parametrize("reply", CUT, ids=["length", "chunk missing", "chunk cut", "size cut"])
def test_a_body_that_is_cut_is_no_answer(way: Way, reply: bytes) -> None:
    def play(peer: Peer) -> None:
        peer.request()
        peer.say(reply)

    with Server(play) as server, lane_to(server.url) as lane:
        with pytest.raises(ConnectionFailed):
            way(lane, way.ask())


def test_a_body_without_a_length_ends_with_its_connection(way: Way) -> None:
    def play(peer: Peer) -> None:
        peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\n\r\n{}")

    with Server(play) as server, lane_to(server.url) as lane:
        assert [way(lane, way.ask()).body for _ in range(2)] == [b"{}", b"{}"]
    assert server.connections == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 oops\r\n\r\n",
    ],
    ids=["another protocol", "long header", "many headers", "no status"],
)
def test_what_is_no_http_is_malformed(way: Way, reply: bytes) -> None:
    with Server(answers(reply)) as server, lane_to(server.url) as lane:
        with pytest.raises(MalformedResponse, match="expected HTTP"):
            way(lane, way.ask())


@pytest.mark.parametrize("after", [0, 1], ids=["at once", "in the head"])
def test_a_broken_connection_is_a_failed_one(way: Way, after: int) -> None:
    def play(peer: Peer) -> None:
        peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nx: y"[: after * 100])
        peer.reset()

    with Server(play) as server, lane_to(server.url) as lane:
        with pytest.raises(ConnectionFailed):
            way(lane, way.ask())
    assert len(server.requests) == 1


def test_nobody_listens(way: Way) -> None:
    with Server() as server:
        pass
    with lane_to(server.url) as lane, pytest.raises(ConnectionFailed):
        way(lane, way.ask())


def test_a_host_that_nobody_knows(way: Way) -> None:
    with lane_to("http://nobody.invalid") as lane, pytest.raises(ConnectionFailed, match=r"nobody\.invalid"):
        way(lane, way.ask())


# ---- connections ----


def _twice(way: Way, server: Server, ended: int = 0) -> None:
    """Ask twice, on one event loop; the server has closed so many connections in between."""

    def wait() -> None:
        for _ in range(ended):
            assert server.ended.acquire(timeout=20)

    async def both() -> None:
        assert (await way.on_loop(lane, way.ask())).status == 200
        await asyncio.to_thread(wait)
        assert (await way.on_loop(lane, way.ask())).status == 200

    with lane_to(server.url) as lane:
        if way.is_async:
            asyncio.run(both())
            return
        assert way(lane, way.ask()).status == 200
        wait()
        assert way(lane, way.ask()).status == 200


@pytest.mark.parametrize("reply", [FINE, STREAM, whole(b"")], ids=["length", "chunked", "empty"])
def test_a_connection_is_kept(way: Way, reply: bytes) -> None:
    with Server(answers(reply, reply)) as server:
        _twice(way, server)
    assert (len(server.requests), server.connections) == (2, 1)


def test_a_connection_that_was_closed_while_idle_is_passed_over(way: Way) -> None:
    def closes(peer: Peer) -> None:
        peer.request()
        peer.say(FINE)

    with Server(closes) as server:
        _twice(way, server, ended=1)
    assert (len(server.requests), server.connections) == (2, 2)


def test_a_connection_that_was_reset_while_idle_is_passed_over(way: Way) -> None:
    def resets(peer: Peer) -> None:
        peer.request()
        peer.say(FINE)
        peer.server.heard.wait(20)
        peer.reset()

    with Server(resets) as server:
        _twice(way, server, ended=1)
    assert (len(server.requests), server.connections) == (2, 2)


def test_a_connection_on_which_the_server_said_more_is_not_used_again(way: Way) -> None:
    with Server(answers(FINE + b"HTTP/1.1 408 Request Timeout\r\n\r\n", FINE)) as server:
        _twice(way, server)
    assert (len(server.requests), server.connections) == (2, 2)


def test_a_connection_that_the_server_will_close_is_not_used_again(way: Way) -> None:
    with Server(answers(whole(b"{}", "connection: close"), FINE)) as server:
        _twice(way, server)
    assert server.connections == 2


def test_a_request_that_may_have_been_taken_up_is_not_sent_again(way: Way) -> None:
    def takes_the_second(peer: Peer) -> None:
        peer.request()
        peer.say(FINE)
        peer.request()

    with Server(takes_the_second) as server, pytest.raises(ConnectionFailed):
        _twice(way, server)
    assert (len(server.requests), server.connections) == (2, 1)


def test_a_stream_that_is_left_closes_its_connection() -> None:
    def play(peer: Peer) -> None:
        peer.request()
        peer.say(chunked(b"data: 1\n\n", end=b""))
        peer.wait()

    ask = Ask(path="/", seconds=20, stream=True, body={})

    async def leave() -> None:
        reply = await lane.asend(ask)
        assert await anext(reply.pieces()) == b"data: 1\n\n"
        await reply.close()
        await asyncio.to_thread(server.ended.acquire, timeout=20)

    with Server(play) as server, lane_to(server.url) as lane:
        reply = lane.send(ask)
        assert next(reply.pieces()) == b"data: 1\n\n"
        reply.close()
        assert server.ended.acquire(timeout=20)
        asyncio.run(leave())
    assert not server.ended.acquire(blocking=False)


def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    async def cancel() -> None:
        call = asyncio.create_task(lane.asend(Ask(path="/", seconds=20, body={})))
        await asyncio.to_thread(server.heard.wait, 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.ended.acquire, timeout=20)

    def play(peer: Peer) -> None:
        peer.request()
        peer.wait()

    with Server(play) as server, lane_to(server.url) as lane:
        asyncio.run(cancel())


def test_threads_share_the_connections() -> None:
    way = Way("sync", False, False)
    with Server(answers(*[FINE] * 80)) as server, lane_to(server.url) as lane, ThreadPoolExecutor(8) as pool:
        assert all(got.status == 200 for got in pool.map(lambda _: way(lane, way.ask()), range(80)))
        assert server.connections <= 8
        lane.close()
        for _ in range(server.connections):
            assert server.ended.acquire(timeout=20)


def test_a_closed_lane_opens_again(way: Way) -> None:
    with Server(answers(FINE)) as server, lane_to(server.url) as lane:
        for _ in range(2):
            assert way(lane, way.ask()).status == 200
            lane.close()
    assert server.connections == 2


def test_the_log_has_no_key(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Server(answers(FINE)) as server, lane_to(server.url) as lane:
        way(lane, way.ask())
        assert KEY not in repr(lane) + str(vars(lane))
    assert f"POST {server.url}/v1/messages: 200" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_where_nobody_listens_the_failure_says_so_by_its_code(way: Way, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with lane_to(f"http://{host}:{port}") as lane, pytest.raises(ConnectionFailed) as caught:
        way(lane, way.ask())
    assert caught.value.code == REFUSED
