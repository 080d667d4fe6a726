"""The real SDK over a socket: which failure it is where the contract takes several, and faults that it does not have.

What the contract asks in all four calls (tests/test_conformance.py at the root) is not asked here again.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from understudy import Failure, LLMResponse, Message, Request, StreamInterrupted
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    RequestTooLarge,
    ServerError,
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
# a whole reply and a streamed one, the sync client and the async one
EACH_REPLY = pytest.mark.parametrize("ask", ["generate", "astream"], indirect=True)
STREAMED = pytest.mark.parametrize("ask", ["stream", "astream"], indirect=True)

# fault, failure of a plain reply, failure of a stream
REPLIES = [
    (faults.billing(), QuotaExhausted, QuotaExhausted),
    (faults.request_too_large(), RequestTooLarge, RequestTooLarge),
    (faults.timeout(408), Timeout, Timeout),
    (faults.blocked("prompt"), ContentBlocked, ContentBlocked),
    (faults.status(302, headers={"location": "/v1/models"}), MalformedResponse, MalformedResponse),
    (faults.html_page(502), ServerError, ServerError),
    (faults.html_page(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(after=2), MalformedResponse, MalformedResponse),
    (faults.null_object(), MalformedResponse, StreamInterrupted),
    (faults.empty_body(), MalformedResponse, StreamInterrupted),
    (faults.stream_end(), MalformedResponse, StreamInterrupted),
    (faults.out_of_tokens(), EmptyResponse, EmptyResponse),
    (faults.cut(0), ConnectionFailed, ConnectionFailed),
    (faults.cut(1), ConnectionFailed, ConnectionFailed),
    (faults.cut_character(), ConnectionFailed, ConnectionFailed),
    (faults.reset(1), ConnectionFailed, ConnectionFailed),
]
# the contract's run has these, over Chat Completions
OF_THE_CONTRACT = [
    (faults.rate_limited(), RateLimited, RateLimited),
    (faults.rate_limited(retry_after=30), RateLimited, RateLimited),
    (faults.quota_exhausted(), QuotaExhausted, QuotaExhausted),
    (faults.overloaded(), Overloaded, Overloaded),
    (faults.server_error(), ServerError, ServerError),
    (faults.timeout(), Timeout, Timeout),
    (faults.authentication_failed(), AuthenticationFailed, AuthenticationFailed),
    (faults.permission_denied(), PermissionDenied, PermissionDenied),
    (faults.model_not_found(), ModelNotFound, ModelNotFound),
    (faults.context_too_long(), ContextTooLong, ContextTooLong),
    (faults.invalid_request(), RequestRefused, RequestRefused),
    (faults.blocked(), ContentBlocked, ContentBlocked),
    (faults.empty(), EmptyResponse, EmptyResponse),
    (faults.reset(), ConnectionFailed, ConnectionFailed),
]
CASES = [("chat", *row) for row in REPLIES] + [("responses", *row) for row in REPLIES + OF_THE_CONTRACT]
# fault, failure of a stream; a plain Chat Completion has no such error, a plain response is one that failed
ERRORS_IN_REPLIES = [
    (faults.stream_error(), Overloaded),
    (faults.stream_error(after=2), Overloaded),
    (faults.stream_error(kind="rate_limited"), RateLimited),
    (faults.stream_error(after=1, kind="server_error"), ServerError),
    (faults.stream_error(kind="timeout"), Timeout),
]


def _through(api: str, request: Request = REQUEST) -> Request:
    return replace(request, options={"openai": {"api": api}})


@EACH_REPLY
@pytest.mark.parametrize(("api", "fault", "plain", "streamed"), CASES, ids=[f"{row[0]}-{row[1]}" for row in CASES])
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


@EACH_REPLY
@pytest.mark.parametrize(("fault", "kind"), ERRORS_IN_REPLIES, ids=[str(row[0]) for row in ERRORS_IN_REPLIES])
def test_an_error_with_status_200_is_its_typed_failure(
    api: str, ask: Ask, fault: Fault, kind: type[Failure], sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    sandbox.openai.always(fault)
    with pytest.raises(Failure) as caught:
        ask(provider, _through(api))
    assert len(sandbox.openai.requests) == 1
    assert type(caught.value) is kind
    assert (caught.value.provider, caught.value.status) == ("openai", 200)
    assert caught.value.request_id


@EACH_REPLY
@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "application/octet-stream"])
def test_an_answer_is_read_whatever_its_content_type_says(
    api: str, ask: Ask, content_type: str, sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    sandbox.openai.always(faults.wrong_content_type(content_type))
    assert ask(provider, _through(api)).success


@EACH_REPLY
def test_a_reply_that_is_nested_too_deep_is_malformed(
    api: str, ask: Ask, sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    sandbox.openai.always(faults.status(200, "[" * 200_000, {"content-type": "application/json"}))
    with pytest.raises(MalformedResponse):
        ask(provider, _through(api))


@EACH_REPLY
def test_a_key_that_the_vendor_repeats_is_masked(ask: Ask, sandbox: Sandbox, provider: OpenAIProvider) -> None:
    error = {"type": "invalid_request_error", "code": "invalid_api_key", "message": f"no such key: {KEY}"}
    sandbox.openai.always(faults.status(401, {"error": error}))
    with pytest.raises(AuthenticationFailed, match=r"no such key: \*\*\*") as caught:
        ask(provider, REQUEST)
    assert KEY not in "".join(traceback.format_exception(caught.value))
