"""The real SDK over a socket: which failure it is where the contract takes several, and faults that it does not have.

What the contract asks in all four calls (tests/test_conformance.py at the root) is not asked here again.
"""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from understudy import Failure, LLMFactory, LLMResponse, Message, Request, Settings, StreamInterrupted
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ContextTooLong,
    EmptyResponse,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
)
from understudy.testing import no_waiting
from understudy_ollama import OllamaProvider
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Fault, Sandbox

    Ask = Callable[[OllamaProvider, Request], LLMResponse]

REQUEST = Request(messages=(Message.user("Hello there, how are you today?"),), timeout=5)
IMPATIENT = replace(REQUEST, timeout=0.3)
KEY = "not-a-real-key-5678"
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
    (faults.null_object(), MalformedResponse, MalformedResponse),
    (faults.empty_body(), MalformedResponse, StreamInterrupted),
    (faults.stream_end(), MalformedResponse, StreamInterrupted),
    (faults.stream_error(), Overloaded, Overloaded),
    (faults.stream_error(after=2), Overloaded, Overloaded),
    (faults.stream_error(kind="rate_limited"), RateLimited, RateLimited),
    (faults.stream_error(kind="server_error"), ServerError, ServerError),
    (faults.out_of_tokens(), EmptyResponse, EmptyResponse),
    (faults.cut(0), ConnectionFailed, ConnectionFailed),
    (faults.cut(1), ConnectionFailed, ConnectionFailed),
    (faults.cut_character(), ConnectionFailed, ConnectionFailed),
    (faults.reset(1), ConnectionFailed, ConnectionFailed),
]


@EACH_REPLY
@pytest.mark.parametrize(("fault", "plain", "streamed"), REPLIES, ids=[str(row[0]) for row in REPLIES])
def test_a_fault_is_its_typed_failure_after_one_request(
    ask: Ask, fault: Fault, plain: type[Failure], streamed: type[Failure], sandbox: Sandbox, provider: OllamaProvider
) -> None:
    sandbox.ollama.always(fault)
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    [received] = sandbox.ollama.requests
    failure = caught.value
    assert type(failure) is (streamed if received.stream else plain)
    assert (failure.provider, failure.model) == ("ollama", provider.default_model)


@EACH_REPLY
def test_a_key_that_the_server_repeats_is_masked(ask: Ask, sandbox: Sandbox) -> None:
    provider = OllamaProvider(Settings(environment={"OLLAMA_BASE_URL": sandbox.ollama.url, "OLLAMA_API_KEY": KEY}))
    sandbox.ollama.always(faults.status(401, {"error": f"no such key: {KEY}"}))
    with pytest.raises(AuthenticationFailed, match=r"no such key: \*\*\*") as caught:
        ask(provider, REQUEST)
    provider.close()
    assert KEY not in "".join(traceback.format_exception(caught.value))


@EACH_REPLY
def test_a_model_that_is_not_pulled_comes_with_its_cure(ask: Ask, provider: OllamaProvider) -> None:
    with pytest.raises(ModelNotFound, match="ollama pull no-such-model:8b"):
        ask(provider, replace(REQUEST, model="no-such-model:8b"))


def test_a_server_that_does_not_run_is_not_asked_again_and_its_start_is_told(ask: Ask, lane: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        provider = OllamaProvider(Settings(environment={"OLLAMA_HOST": f"{host}:{port}", "OLLAMA_TRANSPORT": lane}))
        cure = rf"at http://{host}:{port}: start the server there \(`ollama serve`"
        with pytest.raises(ConnectionFailed, match=cure) as caught:
            ask(provider, REQUEST)
        assert caught.value.retryable is False
        provider.close()


def test_the_factory_goes_past_a_server_that_does_not_run_at_once(sandbox: Sandbox) -> None:
    sandbox.ollama.always(faults.refuse())
    factory = LLMFactory("ollama", ["echo"], settings=sandbox.environment())
    with no_waiting() as waits:
        response = factory.generate_content("Hello")
    factory.close()
    assert (response.success, response.provider_name) == (True, "echo")
    assert [attempt.outcome for attempt in response.attempts] == ["failed", "succeeded"]
    assert waits == []
