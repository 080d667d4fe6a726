"""A sync call over the background loop ends when it is cancelled, and so does its socket, whatever the vendor does."""

import asyncio
import json
import math
import select
import socket
import threading
import time
from contextlib import aclosing
from importlib import import_module

import pytest

from understudy import Failure, Message, Request, Settings
from understudy.concurrency.portal import iterate, run

TIMEOUTS = (0.1, 0.1, 0.1, 0.5, 2.0, 10.0)  # seconds after which a call is cancelled: the next, where it ended late
EXCESS = 0.5  # of that time, by which it may end later
GONE = 1.0  # of that time, until the server sees that its connection is closed
REQUEST = Request(messages=(Message.user("hello"),), timeout=30)  # so that nothing else ends the call
MODULES = {
    "claude": "understudy_claude",
    "cohere": "understudy_cohere",
    "gemini": "understudy_gemini",
    "ollama": "understudy_ollama",
    "openai": "understudy_openai",
    "vertex": "understudy_gemini.vertex",
}
STREAMS = {"ollama": "application/x-ndjson"}  # the others: server-sent events
HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n"
BYTE = b"1\r\n \r\n"  # a chunk with a space in it, which says nothing in any format


class Server:
    """Does with every connection what it is told to.

    Attributes:
        behaviour: "hang_up" when asked, "stall" for ever, or "dribble": headers, and then a byte every 10 ms.
        content_type: of what dribbles.
        accepted, closed: how many connections were accepted, and when the client closed each.
    """

    def __init__(self):
        self.behaviour, self.content_type = "hang_up", "application/json"
        self.accepted, self.closed = 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self.listener.getsockname())
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            if self.behaviour == "end":
                connection.close()
                return
            self.accepted += 1
            self.threads.append(threading.Thread(target=self.serve, args=(connection,)))
            self.threads[-1].start()

    def serve(self, connection):
        asked = False
        with connection:
            try:
                while self.behaviour != "end":
                    if select.select([connection], [], [], 0.01)[0]:
                        if not connection.recv(65_536) or self.behaviour == "hang_up":
                            break
                        if self.behaviour == "dribble" and not asked:
                            connection.sendall(HEAD.format(self.content_type).encode())
                        asked = True
                    elif asked and self.behaviour == "dribble":
                        connection.sendall(BYTE)
            except OSError:  # closed with something unread
                pass
            self.closed.append(time.monotonic())

    def close(self):
        self.behaviour = "end"
        socket.create_connection(self.listener.getsockname()).close()
        for thread in self.threads:
            thread.join(60)
        self.listener.close()
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


def make(name, folder, server, scheme="http"):
    """Make a provider that asks a server of ours, load its SDK and open its clients."""
    user = folder / "user.json"
    fields = ("client_id", "client_secret", "refresh_token", "token")
    never = {"type": "authorized_user", "expiry": "2999-01-01T00:00:00Z"}
    user.write_text(json.dumps({**dict.fromkeys(fields, "none"), **never}), "utf-8")
    prefixes = ("ANTHROPIC", "COHERE", "GEMINI", "OLLAMA", "OPENAI", "VERTEX")
    environment = {
        **{f"{prefix}_BASE_URL": f"{scheme}://{server.address}" for prefix in prefixes},
        **dict.fromkeys(("ANTHROPIC_API_KEY", "COHERE_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"), "not-a-real-key"),
        "GOOGLE_CLOUD_PROJECT": "p1",
        "GOOGLE_APPLICATION_CREDENTIALS": str(user),
    }
    provider = import_module(MODULES[name]).understudy_provider(Settings(environment=environment))
    server.behaviour = "hang_up"
    for ask in (generate, stream):
        with pytest.raises(Failure):
            ask(provider, timeout=60)
    return provider


@pytest.fixture(scope="module", params=MODULES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def provider(server, name, tmp_path_factory):
    provider = make(name, tmp_path_factory.mktemp("user"), server)
    yield provider
    run(provider.aclose)


def generate(provider, timeout):
    async def ask():
        async with asyncio.timeout(timeout):
            return await provider.agenerate(REQUEST)

    return run(ask)


def stream(provider, timeout):
    async def ask():
        async with asyncio.timeout(timeout), aclosing(provider.astream(REQUEST)) as events:
            async for event in events:
                yield event

    return list(iterate(ask))


def cancel(server, ask, provider, timeout):
    """Make a call that is cancelled.

    Returns:
        By how much it was late, and how much later its connection was closed, as parts of the timeout.
    """
    before = server.accepted
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        ask(provider, timeout)
    ended = time.monotonic()
    while len(server.closed) < server.accepted and time.monotonic() < ended + 2 * timeout:
        time.sleep(0.002)
    if server.accepted != before + 1 or len(server.closed) < server.accepted:  # cancelled before it was there, or left
        return math.inf, math.inf
    return (ended - began - timeout) / timeout, (max(server.closed) - ended) / timeout


def see_it_end(server, ask, provider):
    """See that a cancelled call ends, and its connection; again with more time, where the machine has much to do."""
    for timeout in TIMEOUTS:
        excess, gone = cancel(server, ask, provider, timeout)
        if excess < EXCESS and gone < GONE:
            break
    assert excess < EXCESS
    assert gone < GONE


@pytest.mark.parametrize("ask", [generate, stream])
@pytest.mark.parametrize("behaviour", ["stall", "dribble"])
def test_an_answer_that_does_not_end(server, provider, name, behaviour, ask):
    server.content_type = STREAMS.get(name, "text/event-stream") if ask is stream else "application/json"
    server.behaviour = behaviour
    see_it_end(server, ask, provider)


@pytest.mark.parametrize("ask", [generate, stream])
def test_a_handshake_that_does_not_end(server, name, tmp_path, ask):
    provider = make(name, tmp_path, server, "https")
    try:
        server.behaviour = "stall"
        see_it_end(server, ask, provider)
    finally:
        run(provider.aclose)
