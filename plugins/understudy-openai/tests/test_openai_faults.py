"""The real SDK over a socket, against everything that can go wrong, in all four calls and both APIs."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from understudy import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    Failure,
    InvalidRequest,
    LLMResponse,
    MalformedResponse,
    Message,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    Request,
    RequestTooLarge,
    ServerError,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    Timeout,
)
from understudy_openai import OpenAIProvider
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Fault, Sandbox

    Ask = Callable[[OpenAIProvider, Request], LLMResponse]

REQUEST = Request(messages=(Message.user("Hello there, how are you today?"),), timeout=5)
IMPATIENT = replace(REQUEST, timeout=0.3)
KEY = "sandbox-key"

# fault, failure of a plain reply, failure of a stream
REPLIES = [
    (faults.rate_limited(), RateLimited, RateLimited),
    (faults.rate_limited(retry_after=30), RateLimited, RateLimited),
    (faults.quota_exhausted(), QuotaExhausted, QuotaExhausted),
    (faults.billing(), QuotaExhausted, QuotaExhausted),
    (faults.request_too_large(), RequestTooLarge, RequestTooLarge),
    (faults.overloaded(), Overloaded, Overloaded),
    (faults.server_error(), ServerError, ServerError),
    (faults.timeout(), Timeout, Timeout),
    (faults.timeout(408), Timeout, Timeout),
    (faults.authentication_failed(), AuthenticationFailed, AuthenticationFailed),
    (faults.permission_denied(), PermissionDenied, PermissionDenied),
    (faults.model_not_found(), ModelNotFound, ModelNotFound),
    (faults.context_too_long(), ContextTooLong, ContextTooLong),
    (faults.invalid_request(), InvalidRequest, InvalidRequest),
    (faults.blocked("prompt"), ContentBlocked, ContentBlocked),
    (faults.status(302, headers={"location": "/v1/models"}), MalformedResponse, MalformedResponse),
    (faults.status(503, "busy"), Overloaded, Overloaded),
    (faults.html_page(502), ServerError, ServerError),
    (faults.html_page(), MalformedResponse, MalformedResponse),
    (faults.wrong_content_type(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(after=2), MalformedResponse, MalformedResponse),
    (faults.null_object(), MalformedResponse, StreamInterrupted),
    (faults.empty_body(), MalformedResponse, StreamInterrupted),
    (faults.stream_end(), MalformedResponse, StreamInterrupted),
    (faults.blocked(), ContentBlocked, ContentBlocked),
    (faults.empty(), EmptyResponse, EmptyResponse),
    (faults.out_of_tokens(), EmptyResponse, EmptyResponse),
    (faults.cut(0), ConnectionFailed, ConnectionFailed),
    (faults.cut(1), ConnectionFailed, ConnectionFailed),
    (faults.cut_character(), ConnectionFailed, ConnectionFailed),
    (faults.reset(), ConnectionFailed, ConnectionFailed),
    (faults.reset(1), ConnectionFailed, ConnectionFailed),
]
# fault, failure of a stream; a plain Chat Completion has no such error, a plain response is one that failed
ERRORS_IN_REPLIES = [
    (faults.stream_error(), Overloaded),
    (faults.stream_error(after=2), Overloaded),
    (faults.stream_error(kind="rate_limited"), RateLimited),
    (faults.stream_error(after=1, kind="server_error"), ServerError),
    (faults.stream_error(kind="timeout"), Timeout),
]
SILENCES = [faults.black_hole(), faults.stall(0), faults.stall(1), faults.slow_first_token(5)]


def _through(api: str, request: Request = REQUEST) -> Request:
    return replace(request, options={"openai": {"api": api}})


@pytest.mark.parametrize(("fault", "plain", "streamed"), REPLIES, ids=[str(row[0]) for row in REPLIES])
def test_a_fault_is_its_typed_failure_after_one_request(
    api: str,
    ask: Ask,
    fault: Fault,
    plain: type[Failure],
    streamed: type[Failure],
    sandbox: Sandbox,
    provider: OpenAIProvider,
) -> None:
    sandbox.openai.always(fault)
    with pytest.raises(Failure) as caught:
        ask(provider, _through(api))
    [received] = sandbox.openai.requests
    failure = caught.value
    assert received.path == ("/v1/chat/completions" if api == "chat" else "/v1/responses")
    assert type(failure) is (streamed if received.stream else plain)
    assert (failure.provider, failure.model) == ("openai", provider.default_model)
    if fault.name == "rate_limited":
        assert failure.retry_after == fault.options["retry_after"]
    if failure.status is not None and failure.status >= 400 and failure.code is not None:
        assert failure.request_id


@pytest.mark.parametrize(("fault", "kind"), ERRORS_IN_REPLIES, ids=[str(row[0]) for row in ERRORS_IN_REPLIES])
def test_an_error_with_status_200_is_its_typed_failure(
    api: str, ask: Ask, fault: Fault, kind: type[Failure], sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    sandbox.openai.always(fault)
    with pytest.raises(Failure) as caught:
        ask(provider, _through(api))
    [received] = sandbox.openai.requests
    assert type(caught.value) is (kind if received.stream or api == "responses" else MalformedResponse)
    assert (caught.value.provider, caught.value.status) == ("openai", 200)
    assert caught.value.request_id


def test_a_key_that_the_vendor_repeats_is_in_no_traceback(ask: Ask, sandbox: Sandbox, provider: OpenAIProvider) -> None:
    error = {"type": "invalid_request_error", "code": "invalid_api_key", "message": f"no such key: {KEY}"}
    sandbox.openai.always(faults.status(401, {"error": error}))
    with pytest.raises(AuthenticationFailed, match=r"no such key: \*\*\*") as caught:
        ask(provider, REQUEST)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("fault", SILENCES, ids=str)
def test_silence_is_a_timeout_in_time(ask: Ask, fault: Fault, sandbox: Sandbox, provider: OpenAIProvider) -> None:
    sandbox.openai.always(fault)
    begun = time.monotonic()
    with pytest.raises(Timeout):
        ask(provider, IMPATIENT)
    assert time.monotonic() - begun < 2
    assert sandbox.openai.request_count == 1


def test_a_refused_connection(ask: Ask, sandbox: Sandbox, provider: OpenAIProvider) -> None:
    sandbox.openai.always(faults.refuse())
    with pytest.raises(ConnectionFailed):
        ask(provider, REQUEST)
    assert sandbox.openai.request_count == 0


def test_a_plain_answer_that_trickles_is_cut_off_at_the_timeout(sandbox: Sandbox, provider: OpenAIProvider) -> None:
    sandbox.openai.always(faults.dribble(0.1, size=20))
    begun = time.monotonic()
    with pytest.raises(Timeout, match="too slowly"):
        provider.generate(IMPATIENT)
    assert time.monotonic() - begun < 2


def test_a_stream_may_take_longer_than_the_timeout_while_pieces_come(
    api: str, sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    sandbox.openai.reply("one two")
    sandbox.openai.next(faults.dribble(0.1))
    begun = time.monotonic()
    *_, finish = provider.stream(_through(api, IMPATIENT))
    assert finish.response.content == "one two"  # type: ignore[union-attr]  # a Finish is the last
    assert time.monotonic() - begun > 0.3


def test_what_came_before_the_break_was_told_and_is_in_the_failure(
    api: str, sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    sandbox.openai.reply("one two three four")
    sandbox.openai.next(faults.stream_end(after=2))
    told: list[StreamEvent] = []
    with pytest.raises(StreamInterrupted) as caught:
        told.extend(provider.stream(_through(api)))
    assert "".join(event.text for event in told if isinstance(event, TextDelta)) == caught.value.partial == "one two"


def test_the_next_request_after_a_failure_is_answered(ask: Ask, sandbox: Sandbox, provider: OpenAIProvider) -> None:
    sandbox.openai.next(faults.cut(1), None)
    with pytest.raises(ConnectionFailed):
        ask(provider, REQUEST)
    assert ask(provider, REQUEST).success
