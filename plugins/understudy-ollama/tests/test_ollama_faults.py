"""The real SDK over a socket, against everything that can go wrong, in all four calls."""

from __future__ import annotations

import asyncio
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from understudy import (
    AuthenticationFailed,
    ConnectionFailed,
    ContextTooLong,
    EmptyResponse,
    Failure,
    InvalidRequest,
    LLMFactory,
    LLMResponse,
    MalformedResponse,
    Message,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    Request,
    ServerError,
    Settings,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    Timeout,
)
from understudy_ollama import OllamaProvider
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Fault, Sandbox

    Ask = Callable[[OllamaProvider, Request], LLMResponse]

REQUEST = Request(messages=(Message.user("Hello there, how are you today?"),), timeout=5)
IMPATIENT = replace(REQUEST, timeout=0.3)
KEY = "not-a-real-key-5678"

# fault, failure of a plain reply, failure of a stream
REPLIES = [
    (faults.rate_limited(), RateLimited, RateLimited),
    (faults.rate_limited(retry_after=30), RateLimited, RateLimited),
    (faults.quota_exhausted(), QuotaExhausted, QuotaExhausted),
    (faults.billing(), QuotaExhausted, QuotaExhausted),
    (faults.request_too_large(), ContextTooLong, ContextTooLong),
    (faults.overloaded(), Overloaded, Overloaded),
    (faults.server_error(), ServerError, ServerError),
    (faults.timeout(), Timeout, Timeout),
    (faults.timeout(408), Timeout, Timeout),
    (faults.authentication_failed(), AuthenticationFailed, AuthenticationFailed),
    (faults.permission_denied(), PermissionDenied, PermissionDenied),
    (faults.model_not_found(), ModelNotFound, ModelNotFound),
    (faults.context_too_long(), ContextTooLong, ContextTooLong),
    (faults.invalid_request(), InvalidRequest, InvalidRequest),
    (faults.status(302, headers={"location": "/v1/models"}), MalformedResponse, MalformedResponse),
    (faults.status(503, "busy"), Overloaded, Overloaded),
    (faults.html_page(502), ServerError, ServerError),
    (faults.html_page(), MalformedResponse, MalformedResponse),
    (faults.wrong_content_type(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(after=2), MalformedResponse, MalformedResponse),
    (faults.null_object(), MalformedResponse, MalformedResponse),
    (faults.empty_body(), MalformedResponse, StreamInterrupted),
    (faults.stream_end(), MalformedResponse, StreamInterrupted),
    (faults.stream_error(), Overloaded, Overloaded),
    (faults.stream_error(after=2), Overloaded, Overloaded),
    (faults.stream_error(kind="rate_limited"), RateLimited, RateLimited),
    (faults.stream_error(kind="server_error"), ServerError, ServerError),
    (faults.empty(), EmptyResponse, EmptyResponse),
    (faults.out_of_tokens(), EmptyResponse, EmptyResponse),
    (faults.cut(0), ConnectionFailed, ConnectionFailed),
    (faults.cut(1), ConnectionFailed, ConnectionFailed),
    (faults.cut_character(), ConnectionFailed, ConnectionFailed),
    (faults.reset(), ConnectionFailed, ConnectionFailed),
    (faults.reset(1), ConnectionFailed, ConnectionFailed),
]
SILENCES = [faults.black_hole(), faults.stall(0), faults.stall(1), faults.slow_first_token(5)]


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
    if fault.name == "rate_limited":
        assert failure.retry_after == fault.options["retry_after"]


def test_a_key_that_the_server_repeats_is_in_no_traceback(ask: Ask, sandbox: Sandbox) -> None:
    provider = OllamaProvider(Settings(environment={"OLLAMA_BASE_URL": sandbox.ollama.url, "OLLAMA_API_KEY": KEY}))
    sandbox.ollama.always(faults.status(401, {"error": f"no such key: {KEY}"}))
    with pytest.raises(AuthenticationFailed, match=r"no such key: \*\*\*") as caught:
        ask(provider, REQUEST)
    provider.close()
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_model_that_is_not_pulled_comes_with_its_cure(ask: Ask, provider: OllamaProvider) -> None:
    with pytest.raises(ModelNotFound, match="ollama pull no-such-model:8b"):
        ask(provider, replace(REQUEST, model="no-such-model:8b"))


def test_a_server_that_does_not_run_is_not_asked_again_and_its_start_is_told(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        provider = OllamaProvider(Settings(environment={"OLLAMA_HOST": f"{host}:{port}"}))
        with pytest.raises(
            ConnectionFailed, match=rf"at http://{host}:{port}: start the server there \(`ollama serve`"
        ):
            ask(provider, REQUEST)
        provider.close()


def test_the_factory_goes_past_a_server_that_does_not_run_at_once(sandbox: Sandbox) -> None:
    sandbox.ollama.always(faults.refuse())
    factory = LLMFactory("ollama", ["echo"], settings=sandbox.environment())
    begun = time.monotonic()
    response = factory.generate_content("Hello")
    factory.close()
    assert (response.success, response.provider_name) == (True, "echo")
    assert [attempt.outcome for attempt in response.attempts] == ["failed", "succeeded"]
    assert time.monotonic() - begun < 3  # the first wait of the default policy alone would be 5


@pytest.mark.parametrize("fault", SILENCES, ids=str)
def test_silence_is_a_timeout_in_time(ask: Ask, fault: Fault, sandbox: Sandbox, provider: OllamaProvider) -> None:
    sandbox.ollama.always(fault)
    begun = time.monotonic()
    with pytest.raises(Timeout):
        ask(provider, IMPATIENT)
    assert time.monotonic() - begun < 2
    assert sandbox.ollama.request_count == 1


def test_a_refused_connection(ask: Ask, sandbox: Sandbox, provider: OllamaProvider) -> None:
    sandbox.ollama.always(faults.refuse())
    with pytest.raises(ConnectionFailed) as caught:
        ask(provider, REQUEST)
    assert caught.value.retryable is False
    assert sandbox.ollama.request_count == 0


@pytest.mark.parametrize("awaited", [False, True])
def test_a_plain_answer_that_trickles_is_cut_off_at_the_timeout(
    awaited: bool, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    sandbox.ollama.always(faults.dribble(0.1, size=20))
    begun = time.monotonic()
    with pytest.raises(Timeout):
        asyncio.run(provider.agenerate(IMPATIENT)) if awaited else provider.generate(IMPATIENT)
    assert time.monotonic() - begun < 1.5


def test_a_stream_may_take_longer_than_the_timeout_while_pieces_come(
    sandbox: Sandbox, provider: OllamaProvider
) -> None:
    sandbox.ollama.reply("one two three four five")
    sandbox.ollama.next(faults.dribble(0.1))
    begun = time.monotonic()
    *_, finish = provider.stream(IMPATIENT)
    assert finish.response.content == "one two three four five"  # type: ignore[union-attr]  # a Finish is the last
    assert time.monotonic() - begun > 0.3


def test_what_came_before_the_break_was_told_and_is_in_the_failure(sandbox: Sandbox, provider: OllamaProvider) -> None:
    sandbox.ollama.reply("one two three four")
    sandbox.ollama.next(faults.stream_end(after=2))
    told: list[StreamEvent] = []
    with pytest.raises(StreamInterrupted) as caught:
        told.extend(provider.stream(REQUEST))
    assert "".join(event.text for event in told if isinstance(event, TextDelta)) == caught.value.partial == "one two"


def test_the_next_request_after_a_failure_is_answered(ask: Ask, sandbox: Sandbox, provider: OllamaProvider) -> None:
    sandbox.ollama.next(faults.cut(1), None)
    with pytest.raises(ConnectionFailed):
        ask(provider, REQUEST)
    assert ask(provider, REQUEST).success
