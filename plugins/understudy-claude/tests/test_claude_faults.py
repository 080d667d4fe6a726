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
    EmptyResponse,
    MalformedResponse,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    ServerError,
    Timeout,
)
from understudy_claude import ClaudeProvider
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Fault, Sandbox

    Ask = Callable[[ClaudeProvider, Request], LLMResponse]

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
    (faults.status(302, headers={"location": "/v1/models"}), MalformedResponse, MalformedResponse),
    (faults.html_page(502), ServerError, ServerError),
    (faults.html_page(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(), MalformedResponse, MalformedResponse),
    (faults.malformed_json(after=2), MalformedResponse, MalformedResponse),
    (faults.null_object(), MalformedResponse, StreamInterrupted),
    (faults.empty_body(), MalformedResponse, StreamInterrupted),
    (faults.stream_end(), MalformedResponse, StreamInterrupted),
    (faults.stream_error(), Overloaded, Overloaded),
    (faults.stream_error(after=2), Overloaded, Overloaded),
    (faults.stream_error(kind="rate_limited"), RateLimited, RateLimited),
    (faults.out_of_tokens(), EmptyResponse, EmptyResponse),
    (faults.cut(0), ConnectionFailed, ConnectionFailed),
    (faults.cut(1), ConnectionFailed, ConnectionFailed),
    (faults.cut_character(), ConnectionFailed, ConnectionFailed),
    (faults.reset(1), ConnectionFailed, ConnectionFailed),
]


@EACH_REPLY
@pytest.mark.parametrize(("fault", "plain", "streamed"), REPLIES, ids=[str(row[0]) for row in REPLIES])
def test_a_fault_is_its_typed_failure_after_one_request(
    ask: Ask, fault: Fault, plain: type[Failure], streamed: type[Failure], sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    sandbox.claude.always(fault)
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    [received] = sandbox.claude.requests
    failure = caught.value
    assert type(failure) is (streamed if received.stream else plain)
    assert (failure.provider, failure.model) == ("claude", provider.default_model)
    if failure.status is not None and failure.status >= 400 and failure.code is not None:
        assert failure.request_id


@EACH_REPLY
def test_a_key_that_the_vendor_repeats_is_masked(ask: Ask, sandbox: Sandbox, provider: ClaudeProvider) -> None:
    error = {"type": "authentication_error", "message": f"no such key: {KEY}"}
    sandbox.claude.always(faults.status(401, {"type": "error", "error": error}))
    with pytest.raises(AuthenticationFailed, match=r"no such key: \*\*\*") as caught:
        ask(provider, REQUEST)
    assert KEY not in "".join(traceback.format_exception(caught.value))
