"""Every wait of the http lane ends in time. What is slow here goes on for many times as long as it is waited for."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from peers import PATIENCE, Peer, Server, Way, chunk, chunked, lane_to, whole

from understudy.errors import ConnectionFailed, Timeout
from understudy_toolkit.http.wire import connect
from understudy_toolkit.lanes import Ask

SHORT = 0.2  # seconds that are waited for
LONG = PATIENCE / 2  # seconds that it would take
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.fixture
def control() -> Iterator[Callable[[], bool]]:
    """Tells whether a clock that began with the test has run out, which is many times as long as is waited for."""
    over = threading.Event()
    clock = threading.Timer(LONG / 2, over.set)
    clock.daemon = True
    clock.start()
    yield over.is_set
    clock.cancel()


def trickle(beginning: bytes, drop: bytes, every: float = 0.01) -> Callable[[Peer], None]:
    """Return what says a beginning, and then a drop every now and then."""

    def play(peer: Peer) -> None:
        peer.request()
        peer.say(beginning)
        until = time.monotonic() + LONG
        while time.monotonic() < until and not peer.server.over.wait(every):
            peer.say(drop)

    return play


def silent(beginning: bytes = b"") -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.request()
        peer.say(beginning)
        peer.wait()

    return play


@pytest.mark.parametrize(
    "play",
    [
        silent(),
        silent(HEAD),
        trickle(HEAD, b"x"),
        trickle(HEAD, b"x: y\r\n"),
        trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["nothing", "half a head", "a long header", "ever more headers", "ever more interim replies"],
)
def test_a_reply_that_does_not_begin_is_given_up(
    way: Way, play: Callable[[Peer], None], control: Callable[[], bool]
) -> None:
    with Server(play) as server, lane_to(server.url) as lane:
        with pytest.raises(Timeout, match=r"no answer has begun within 0\.2 s"):
            way(lane, way.ask(seconds=SHORT))
        assert not control()
        assert server.ended.acquire(timeout=PATIENCE)  # the connection was closed


@pytest.mark.parametrize(
    "play",
    [
        silent(whole(b"x" * 10)[:-5]),
        silent(chunked(b"x", end=b"")),
        trickle(HEAD + b"content-length: 100000\r\n\r\n", b"x"),
        trickle(HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk(b"x")),
        trickle(HEAD + b"transfer-encoding: chunked\r\n\r\n5;", b"x"),
        trickle(HEAD + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n", chunk(gzip.compress(b"x"))),
        trickle(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    ],
    ids=["silence", "silence in chunks", "bytes", "chunks", "a chunk's size", "gzip", "trailers"],
)
@pytest.mark.parametrize("way", [Way("sync", False, False), Way("async", True, False)], ids=lambda way: way.name)
def test_an_answer_that_is_not_whole_in_time_is_given_up(
    way: Way, play: Callable[[Peer], None], control: Callable[[], bool]
) -> None:
    with Server(play) as server, lane_to(server.url) as lane:
        with pytest.raises(Timeout, match=r"not whole within 0\.2 s"):
            way(lane, way.ask(seconds=SHORT))
        assert not control()
        assert server.ended.acquire(timeout=PATIENCE)


@pytest.mark.parametrize("way", [Way("sync", False, True), Way("async", True, True)], ids=lambda way: way.name)
@pytest.mark.parametrize("end", [b"", b"5;", b"5\r\n"], ids=["between chunks", "in a size", "before data"])
def test_a_stream_that_falls_silent_is_given_up(way: Way, end: bytes, control: Callable[[], bool]) -> None:
    with Server(silent(chunked(b"x", end=end))) as server, lane_to(server.url) as lane:
        with pytest.raises(Timeout, match=r"nothing more has come within 0\.2 s"):
            way(lane, way.ask(seconds=SHORT))
        assert not control()
        assert server.ended.acquire(timeout=PATIENCE)


@pytest.mark.parametrize("way", [Way("sync", False, True), Way("async", True, True)], ids=lambda way: way.name)
def test_a_stream_may_take_longer_than_its_time_while_pieces_come(way: Way) -> None:
    def play(peer: Peer) -> None:
        peer.request()
        peer.say(chunked(end=b""))
        for _ in range(6):
            time.sleep(0.5)
            peer.say(chunk(b"x"))
        peer.say(b"0\r\n\r\n")

    with Server(play) as server, lane_to(server.url) as lane:
        assert way(lane, way.ask(seconds=2.5)).body == b"x" * 6


def test_whoever_reads_slowly_has_all_the_time_for_it() -> None:
    async def read() -> bytes:
        reply = await lane.asend(Ask(path="/", seconds=SHORT, stream=True, body={}))
        read = b""
        async for piece in reply.pieces():
            await asyncio.sleep(2 * SHORT)  # longer than each piece may take to come
            read += piece
        await reply.close()
        return read

    def play(peer: Peer) -> None:
        peer.request()
        peer.say(chunked(b"1", end=b""))
        for piece in (b"2", b"3"):
            time.sleep(SHORT / 20)
            peer.say(chunk(piece))
        peer.say(b"0\r\n\r\n")

    with Server(play) as server, lane_to(server.url) as lane:
        assert asyncio.run(read()) == b"123"


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_an_error_in_the_place_of_a_stream_is_read_in_time(is_async: bool, control: Callable[[], bool]) -> None:
    refused = trickle(b"HTTP/1.1 500 Oops\r\ncontent-length: 100000\r\n\r\n", b"x")
    with Server(refused) as server, lane_to(server.url) as lane:
        with pytest.raises(Timeout):
            Way("read whole", is_async, False)(lane, Ask(path="/", seconds=SHORT, stream=True, body={}))
        assert not control()


def test_a_connection_that_does_not_come_about_is_given_up(way: Way, control: Callable[[], bool]) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)  # and nobody accepts
    place = listener.getsockname()
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(place)
    try:
        with lane_to(f"http://127.0.0.1:{place[1]}") as lane, pytest.raises(Timeout, match=r"no connection .*0\.2 s"):
            way(lane, way.ask(seconds=PATIENCE, connect_seconds=SHORT))
        assert not control()
    finally:
        for one in (*waiting, listener):
            one.close()


def test_a_handshake_that_does_not_go_on_is_given_up(way: Way, control: Callable[[], bool]) -> None:
    with Server(lambda peer: peer.wait()) as server, lane_to(server.url.replace("http", "https")) as lane:
        with pytest.raises(Timeout, match="no connection"):
            way(lane, way.ask(seconds=PATIENCE, connect_seconds=SHORT))
        assert not control()
        assert server.ended.acquire(timeout=PATIENCE)


def test_a_name_server_that_keeps_silent_is_given_up(
    way: Way, control: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def keep_silent(*_: object, **__: object) -> list[object]:
        over.wait(PATIENCE)
        raise OSError("no name server")

    monkeypatch.setattr(socket, "getaddrinfo", keep_silent)
    with lane_to("http://vendor.example") as lane, pytest.raises(Timeout, match="no connection"):
        way(lane, way.ask(seconds=PATIENCE, connect_seconds=SHORT))
    over.set()
    assert not control()


def test_a_server_that_does_not_take_the_request_is_given_up(way: Way, control: Callable[[], bool]) -> None:
    def play(peer: Peer) -> None:
        peer.server.over.wait(PATIENCE)

    with Server(play) as server, lane_to(server.url) as lane:
        with pytest.raises(Timeout):
            way(lane, way.ask(seconds=SHORT, body={"a": "x" * 30_000_000}))
        assert not control()


def test_the_second_of_two_addresses_has_its_time_where_the_first_keeps_silent(
    monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    silent_place = socket.create_server(("127.0.0.2", 0), backlog=0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(silent_place.getsockname())
    port = silent_place.getsockname()[1]
    listener = socket.create_server(("127.0.0.1", port))
    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    from understudy_toolkit.http.address import Address
    from understudy_toolkit.tls import context_for

    address = Address("http", "vendor.example", port)
    wire = connect(address, None, context_for("http://127.0.0.1"), time.monotonic() + 2)
    wire.close()
    for one in (*waiting, silent_place, listener):
        one.close()


# ---- processes ----

ASK = """
from understudy_toolkit.http import HttpLane
from understudy_toolkit.lanes import Ask
lane = HttpLane({url!r}, dict)
def ask():
    reply = lane.send(Ask(path="/", seconds=60, body={{}}))
    try:
        return reply.read()
    finally:
        reply.close()
"""


def _run(program: str, server: Server, warnings: str = "error") -> subprocess.Popen[str]:
    command = [sys.executable, "-W", warnings, "-c", ASK.format(url=server.url) + program]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def test_a_program_that_closes_nothing_ends_without_a_word() -> None:
    program = """
import asyncio
print(ask())
async def wait():
    reply = await lane.asend(Ask(path="/", seconds=60, body={}))
    print(await reply.read())
    await reply.close()
asyncio.run(wait())
reply = lane.send(Ask(path="/", seconds=60, body={}))
"""
    with Server(lambda peer: [peer.say(whole(b"{}")) for _ in iter(peer.request, None)] and None) as server:
        out, err = _run(program, server).communicate(timeout=PATIENCE * 3)
    assert (out, err) == ("b'{}'\nb'{}'\n", "")


def test_a_loop_that_is_never_closed_ends_without_a_word() -> None:
    program = """
import asyncio
async def wait():
    reply = await lane.asend(Ask(path="/", seconds=60, body={}))
    print(await reply.read())
    await reply.close()
loop = asyncio.new_event_loop()
loop.run_until_complete(wait())
"""
    with Server(lambda peer: [peer.say(whole(b"{}")) for _ in iter(peer.request, None)] and None) as server:
        out, err = _run(program, server, warnings="default").communicate(timeout=PATIENCE * 3)
    assert out == "b'{}'\n"
    assert "aiohttp" not in err  # the loop itself has something to say where warnings are on
    assert "client" not in err.lower()


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_ctrl_c_ends_a_call(is_async: bool) -> None:
    wait = "import asyncio\nasyncio.run(lane.asend(Ask(path='/', seconds=60, body={})))\n"
    with Server(silent()) as server:
        process = _run(wait if is_async else "ask()\n", server)
        assert server.heard.wait(PATIENCE * 3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert server.ended.acquire(timeout=PATIENCE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_connections_of_its_own() -> None:
    program = """
import os
ask()
child = os.fork()
if not child:
    ask()
    ask()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(ask())
"""
    with Server(lambda peer: [peer.say(whole(b"{}")) for _ in iter(peer.request, None)] and None) as server:
        out, err = _run(program, server).communicate(timeout=PATIENCE * 3)
    assert (out, err) == ("b'{}'\n", "")
    assert (len(server.requests), server.connections) == (4, 2)


def test_a_connection_breaks_while_the_request_is_sent(way: Way) -> None:
    def play(peer: Peer) -> None:
        peer.sock.recv(1000)
        peer.reset()

    with Server(play) as server, lane_to(server.url) as lane, pytest.raises(ConnectionFailed):
        way(lane, way.ask(body={"a": "x" * 30_000_000}))
