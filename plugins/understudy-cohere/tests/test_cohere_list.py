"""The models that an account may use, asked for over a socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Failure, Settings
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    MalformedResponse,
    ProviderUnavailable,
    RateLimited,
    Timeout,
    UnsupportedRequest,
)
from understudy_cohere import CohereProvider
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Fault, Sandbox

Serve = Callable[..., CohereProvider]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes a provider in front of a server that answers with these pieces, with a pause after each."""
    listener = socket.create_server(("127.0.0.1", 0))
    pieces: list[bytes] = []
    pause = threading.Event()  # never set: a pause is a wait for it
    seconds = 0.0

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                try:
                    for piece in pieces:
                        connection.sendall(piece)
                        pause.wait(seconds)
                except OSError:
                    continue  # the client has hung up

    def start(status: int, *body: bytes, pause: float = 0.0, lane: str = "sdk") -> CohereProvider:
        nonlocal seconds
        length = sum(map(len, body))
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        pieces[:] = [head.encode(), *body]
        seconds = pause
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = {"COHERE_API_KEY": "not-a-real-key", "COHERE_BASE_URL": url, "COHERE_TRANSPORT": lane}
        made.append(CohereProvider(Settings(environment=settings)))
        return made[-1]

    thread = threading.Thread(target=answer, daemon=True)
    made: list[CohereProvider] = []
    yield start
    for provider in made:
        provider.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_the_models_of_an_account_are_listed_without_asking_one(sandbox: Sandbox, provider: CohereProvider) -> None:
    listed = provider.list_models()
    assert provider.default_model in listed
    assert len(listed) == len(set(listed)) > 1
    [asked] = sandbox.cohere.requests
    assert (asked.method, asked.path) == ("GET", "/v1/models")
    assert asked.headers["authorization"] == "Bearer sandbox-key"
    assert dict(asked.query) == {"endpoint": "chat", "page_size": "1000"}


@pytest.mark.parametrize("body", [{"models": 7}, {"models": ["a"]}, {}, "a", [{"name": "a"}], None])
def test_other_shapes_are_malformed(body: Any, serve: Serve) -> None:
    with pytest.raises(MalformedResponse, match="expected a list of models") as caught:
        serve(200, json.dumps(body).encode()).list_models()
    assert (caught.value.provider, caught.value.model) == ("cohere", None)


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_without_a_list_says_so(status: int, serve: Serve) -> None:
    with pytest.raises(
        UnsupportedRequest, match=f"does not list its models: GET /v1/models is answered with .* {status}"
    ):
        serve(status, b'{"detail": "Not Found"}').list_models()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.authentication_failed(), AuthenticationFailed),
        (faults.rate_limited(), RateLimited),
        (faults.html_page(), MalformedResponse),
        (faults.reset(), ConnectionFailed),
    ],
    ids=str,
)
def test_failures_are_typed(fault: Fault, kind: type[Failure], sandbox: Sandbox, provider: CohereProvider) -> None:
    sandbox.cohere.next(fault)
    with pytest.raises(Failure) as caught:
        provider.list_models()
    assert (type(caught.value), caught.value.provider) == (kind, "cohere")
    assert sandbox.cohere.request_count == 1


def test_a_list_that_comes_in_a_trickle_ends_in_time(serve: Serve, lane: str) -> None:
    # ten seconds, and never so long between two pieces
    provider = serve(200, *[b" "] * 100, b'{"models": []}', pause=0.1, lane=lane)
    with pytest.raises(Timeout, match="too slowly" if lane == "sdk" else "was not whole within"):
        provider.list_models(timeout=0.5)


def test_a_missing_key_is_said_before_anything_is_sent() -> None:
    with pytest.raises(ProviderUnavailable, match="COHERE_API_KEY is "):
        CohereProvider(Settings(environment={})).list_models()
