"""The real SDK over a socket: which failure it is where the contract takes several, and faults that it does not have.

What the contract asks in all four calls (tests/test_conformance.py at the root) is not asked here again.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from understudy import Failure, LLMResponse, Message, Request, Settings, StreamInterrupted
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    MalformedResponse,
    Overloaded,
    QuotaExhausted,
    ServerError,
    Timeout,
)
from understudy_cohere import CohereProvider
from understudy_sandbox import faults
from understudy_toolkit.conformance.limits import within

if TYPE_CHECKING:
    from understudy_sandbox import Fault, Sandbox

    Ask = Callable[[CohereProvider, Request], LLMResponse]

REQUEST = Request(messages=(Message.user("Hello there, how are you today?"),), timeout=5)
IMPATIENT = replace(REQUEST, timeout=0.3)
KEY = "sandbox-key"
# a whole reply and a streamed one, the sync client and the async one
EACH_REPLY = pytest.mark.parametrize("ask", ["generate", "astream"], indirect=True)
STREAMED = pytest.mark.parametrize("ask", ["stream", "astream"], indirect=True)

# fault, failure of a plain reply, failure of a stream
REPLIES = [
    (faults.billing(), QuotaExhausted, QuotaExhausted),
    (faults.request_too_large(), ContextTooLong, ContextTooLong),
    (faults.timeout(408), Timeout, Timeout),
    (faults.status(302, headers={"location": "/v1/models"}), MalformedResponse, MalformedResponse),
    (faults.html_page(502), ServerError, ServerError),
    (faults.html_page(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(after=2), MalformedResponse, MalformedResponse),
    (faults.null_object(), MalformedResponse, StreamInterrupted),
    (faults.empty_body(), MalformedResponse, StreamInterrupted),
    (faults.stream_end(), MalformedResponse, StreamInterrupted),
    (faults.stream_error(), ServerError, ServerError),
    (faults.stream_error(after=2), ServerError, ServerError),
    (faults.stream_error(kind="context_too_long"), ServerError, ContextTooLong),
    (faults.blocked("prompt"), ContentBlocked, ContentBlocked),
    (faults.out_of_tokens(), EmptyResponse, EmptyResponse),
    (faults.cut(0), ConnectionFailed, ConnectionFailed),
    (faults.cut(1), ConnectionFailed, ConnectionFailed),
    (faults.cut_character(), ConnectionFailed, ConnectionFailed),
    (faults.reset(1), ConnectionFailed, ConnectionFailed),
]


@EACH_REPLY
@pytest.mark.parametrize(("fault", "plain", "streamed"), REPLIES, ids=[str(row[0]) for row in REPLIES])
def test_a_fault_is_its_typed_failure_after_one_request(
    ask: Ask, fault: Fault, plain: type[Failure], streamed: type[Failure], sandbox: Sandbox, provider: CohereProvider
) -> None:
    sandbox.cohere.always(fault)
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    [received] = sandbox.cohere.requests
    failure = caught.value
    assert type(failure) is (streamed if received.stream else plain)
    assert (failure.provider, failure.model) == ("cohere", provider.default_model)
    if "Understudy sandbox standing in" in failure.message:
        assert failure.request_id


@EACH_REPLY
def test_a_key_that_the_vendor_repeats_is_masked(ask: Ask, sandbox: Sandbox, provider: CohereProvider) -> None:
    sandbox.cohere.always(faults.status(401, {"id": "x", "message": f"no such key: {KEY}"}))
    with pytest.raises(AuthenticationFailed, match=r"no such key: \*\*\*") as caught:
        ask(provider, REQUEST)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@EACH_REPLY
def test_nobody_waits_long_for_a_connection(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy_toolkit.sdk_lane.CONNECT_SECONDS", 0.3)
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # nobody accepts, so there is no room for one more
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(busy.getsockname())
        url = f"http://127.0.0.1:{busy.getsockname()[1]}"
        provider = CohereProvider(Settings(environment={"COHERE_API_KEY": KEY, "COHERE_BASE_URL": url}))
        with pytest.raises(Timeout):
            within(60, lambda: ask(provider, replace(REQUEST, timeout=600)))
        provider.close()


class Page:
    """Takes one connection on 127.0.0.1, and answers it with status 503 and bytes that are no UTF-8, one by one."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        with self._socket, self._socket.accept()[0] as connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.settimeout(5)
            connection.sendall(b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 40\r\n\r\n")
            for _ in range(40):
                connection.sendall(b"\xe9")
                time.sleep(self._pause)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):  # unread bytes would turn the end into a reset
                pass

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)


@EACH_REPLY
@pytest.mark.parametrize("pause", [0, 0.1])
def test_an_error_page_is_bounded_and_its_status_counts_whatever_its_bytes(ask: Ask, pause: float, lane: str) -> None:
    with Page(pause) as page:
        settings = {"COHERE_API_KEY": KEY, "COHERE_BASE_URL": page.url, "COHERE_TRANSPORT": lane}
        provider = CohereProvider(Settings(environment=settings))
        provider.warm_up()
        with pytest.raises(Overloaded):
            ask(provider, replace(REQUEST, timeout=2.0))  # seconds: half as long as the slower page takes
        provider.close()
