"""The real SDK over a socket: which failure it is where the contract takes several, and faults that it does not have.

What the contract asks in all four calls (tests/test_conformance.py at the root) is not asked here again.
"""

from __future__ import annotations

import time
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
    (faults.stream_error(), MalformedResponse, Overloaded),
    (faults.stream_error(after=2), MalformedResponse, Overloaded),
    (faults.stream_error(kind="rate_limited"), MalformedResponse, RateLimited),
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
@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/json", "application/octet-stream"])
def test_an_answer_is_read_whatever_its_content_type_says(
    ask: Ask, content_type: str, sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    sandbox.claude.always(faults.wrong_content_type(content_type))
    assert ask(provider, REQUEST).success


@EACH_REPLY
def test_a_reply_that_is_nested_too_deep_is_malformed(ask: Ask, sandbox: Sandbox, provider: ClaudeProvider) -> None:
    sandbox.claude.always(faults.status(200, "[" * 200_000, {"content-type": "application/json"}))
    with pytest.raises(MalformedResponse, match="application/json") as caught:
        ask(provider, REQUEST)
    assert (caught.value.provider, caught.value.model) == ("claude", provider.default_model)


@EACH_REPLY
@pytest.mark.parametrize("fault", [faults.reset(1), faults.authentication_failed(), faults.malformed_json()], ids=str)
def test_nothing_that_hangs_on_a_failure_holds_the_key(
    ask: Ask, fault: Fault, sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    sandbox.claude.always(fault)
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    link: BaseException | None = caught.value
    while link is not None:
        assert not hasattr(link, "request")
        assert KEY not in str(vars(link))
        link = link.__cause__ or link.__context__


@EACH_REPLY
def test_a_key_that_the_vendor_repeats_is_masked(ask: Ask, sandbox: Sandbox, provider: ClaudeProvider) -> None:
    error = {"type": "authentication_error", "message": f"no such key: {KEY}"}
    sandbox.claude.always(faults.status(401, {"type": "error", "error": error}))
    with pytest.raises(AuthenticationFailed, match=r"no such key: \*\*\*") as caught:
        ask(provider, REQUEST)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@STREAMED
def test_silence_after_the_head_is_a_timeout_in_time(ask: Ask, sandbox: Sandbox, provider: ClaudeProvider) -> None:
    sandbox.claude.always(faults.stall(0))
    begun = time.monotonic()
    with pytest.raises(Timeout):
        ask(provider, IMPATIENT)
    assert time.monotonic() - begun < 2
    assert sandbox.claude.request_count == 1


def test_a_stream_may_take_longer_than_the_timeout_while_pieces_come(
    sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    sandbox.claude.reply("one two")
    sandbox.claude.next(faults.dribble(0.1))
    begun = time.monotonic()
    *_, finish = provider.stream(IMPATIENT)
    assert finish.response.content == "one two"  # type: ignore[union-attr]  # a Finish is the last
    assert time.monotonic() - begun > 0.3
