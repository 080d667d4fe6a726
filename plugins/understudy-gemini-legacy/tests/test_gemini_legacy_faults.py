"""The real SDK over a real socket: which failure it is where the contract takes several, and faults it does not have.

What the contract asks in all four calls (tests/test_conformance.py at the root) is not asked here again.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from understudy import Failure, LLMResponse, Message, Request, StreamInterrupted
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    InvalidRequest,
    MalformedResponse,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
)
from understudy_gemini_legacy import GeminiLegacyProvider
from understudy_sandbox import Fault, Sandbox, faults
from understudy_toolkit.conformance.asking import becomes

Ask = Callable[[GeminiLegacyProvider, Request], LLMResponse]
ASKED = Request(messages=(Message.user("Say something in a few words"),), timeout=5)
HURRIED = Request(messages=ASKED.messages, timeout=0.2)
# a whole reply and a streamed one, the sync client and the async one
EACH_REPLY = pytest.mark.parametrize("ask", ["generate", "astream"], indirect=True)

REPLIES: list[tuple[Fault, type[Failure]]] = [
    (faults.billing(), QuotaExhausted),
    (faults.request_too_large(), ContextTooLong),
    (faults.timeout(408), Timeout),
    (faults.status(401), AuthenticationFailed),
    (faults.blocked(where="prompt"), ContentBlocked),
    (faults.out_of_tokens(), EmptyResponse),
    (faults.stream_error(), Overloaded),
    (faults.stream_error(kind="rate_limited"), RateLimited),
    (faults.stream_error(after=2, kind="server_error"), ServerError),
    (faults.status(429, {"error": {"code": "rate_limit_exceeded", "message": "x"}}), RateLimited),
    (faults.status(502, "upstream is away"), ServerError),
    (faults.html_page(), MalformedResponse),
    (faults.html_page(503), Overloaded),
    (faults.null_object(), MalformedResponse),
    (faults.malformed_json(), MalformedResponse),
    (faults.status(200, {"error": {"code": 503, "status": "UNAVAILABLE", "message": "x"}}), Overloaded),
    (faults.status(200, '[{"error": {"code": 429, "message": "x"}}]'), RateLimited),
    (faults.status(503, '[{"error": {"code": 503, "status": "UNAVAILABLE", "message": "x"}}]'), Overloaded),
    (faults.status(429, '[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}}]'), RateLimited),
    (faults.status(302, "", {"location": "http://127.0.0.1:9/elsewhere"}), MalformedResponse),
    (faults.cut(), ConnectionFailed),
    (faults.cut_character(), ConnectionFailed),
    (faults.reset(after=1), ConnectionFailed),
]


def name_of(value: object) -> str:
    return str(value) if isinstance(value, Fault) else getattr(value, "__name__", "")


@EACH_REPLY
@pytest.mark.parametrize(("fault", "failure"), REPLIES, ids=name_of)
def test_each_fault_is_its_failure_after_one_request(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask, fault: Fault, failure: type[Failure]
) -> None:
    sandbox.gemini.next(fault)
    with pytest.raises(failure) as caught:
        ask(provider, ASKED)
    assert type(caught.value) is failure
    assert sandbox.gemini.request_count == 1
    assert (caught.value.provider, caught.value.model) == ("gemini-legacy", "gemini-2.5-flash-lite")


@pytest.mark.parametrize("fault", [faults.stream_end(), faults.stream_end(after=0), faults.empty_body()], ids=str)
def test_a_whole_reply_that_ends_early_is_malformed(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask_whole: Ask, fault: Fault
) -> None:
    sandbox.gemini.next(fault)
    with pytest.raises(MalformedResponse):
        ask_whole(provider, ASKED)


@pytest.mark.parametrize(("after", "partial"), [(0, ""), (2, "This is")])
def test_a_stream_that_ends_early_is_interrupted(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask_stream: Ask, after: int, partial: str
) -> None:
    sandbox.gemini.next(faults.stream_end(after=after))
    with pytest.raises(StreamInterrupted) as caught:
        ask_stream(provider, ASKED)
    assert caught.value.partial == partial


@EACH_REPLY
@pytest.mark.parametrize("fault", [faults.wrong_content_type(), faults.huge(1), faults.slow_first_token(0.1)], ids=str)
def test_what_is_only_unusual_is_an_answer(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask, fault: Fault
) -> None:
    sandbox.gemini.next(fault)
    assert ask(provider, ASKED).content


@pytest.mark.filterwarnings("error")
@EACH_REPLY
def test_values_that_the_sdk_does_not_know_do_no_harm(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [{"text": "pong", "thoughtSignature": "not base64!", "newPart": 1}]
    usage = {"promptTokenCount": 1, "promptTokensDetails": [{"modality": "SMELL"}], "serviceTier": "platinum"}
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "BORED", "newMember": [1]}
    sandbox.gemini.reply({"candidates": [candidate], "usageMetadata": usage, "newMember": {}})
    response = ask(provider, ASKED)
    assert response.content == "pong"
    assert response.finish_reason == "unknown"
    assert [record.name for record in caplog.records if record.levelname == "WARNING"] == []


@EACH_REPLY
def test_the_sdk_sends_no_further_requests_of_its_own(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    parts = [{"text": "to be"}, {"functionCall": {"name": "f", "args": {}}}]
    candidate = {"content": {"parts": parts}, "finishReason": "CONTINUATION", "continuationToken": "bmV4dA=="}
    sandbox.gemini.reply({"candidates": [candidate]})
    response = ask(provider, ASKED)
    assert (response.content, response.finish_reason) == ("to be", "length")
    assert sandbox.gemini.request_count == 1
    assert "AFC is enabled" not in caplog.text  # its automatic function calling


@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_that_is_given_up_ends_at_its_timeout(
    provider: GeminiLegacyProvider, sandbox: Sandbox, streamed: bool
) -> None:
    hurried = Request(messages=ASKED.messages, timeout=5.0)

    async def consume() -> None:
        async for _ in provider.astream(hurried):
            pass

    async def cancel() -> None:
        task = asyncio.create_task(consume() if streamed else provider.agenerate(hurried))
        assert await asyncio.to_thread(becomes, lambda: sandbox.gemini.request_count == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sandbox.gemini.open_connections == 1  # whoever gave up does not wait for the thread

    provider.generate(ASKED)
    sandbox.reset()
    sandbox.gemini.next(faults.stall(after=0, seconds=3600))
    asyncio.run(cancel(), debug=True)  # which ends when its threads have ended
    assert becomes(lambda: sandbox.gemini.open_connections == 0)
    assert sandbox.gemini.request_count == 1


@EACH_REPLY
@pytest.mark.parametrize(
    "fault", [faults.rate_limited(), faults.html_page(), faults.reset(), faults.black_hole()], ids=str
)
def test_no_failure_holds_the_key(provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask, fault: Fault) -> None:
    sandbox.gemini.next(fault)
    with pytest.raises(Failure) as caught:
        ask(provider, HURRIED)
    failure = caught.value
    shown = [repr(failure), str(failure), repr(vars(failure)), repr(provider), repr(vars(provider))]
    trace = traceback.TracebackException.from_exception(failure, capture_locals=True)
    for frame in trace.stack:
        if "understudy_gemini_legacy" in frame.filename:
            shown.append(str(frame.locals))
    assert "key-0123456789" not in "".join(shown)
    assert failure.__cause__ is None
    assert failure.__context__ is None
    assert not [frame.filename for frame in trace.stack if "google/" in frame.filename]


@EACH_REPLY
def test_a_key_that_the_vendor_repeats_is_masked(provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask) -> None:
    message = "API key key-0123456789 is not valid for AIzaSyA1234567890"
    sandbox.gemini.next(faults.status(400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}))
    with pytest.raises(Failure, match=r"API key \*\*\* is not valid for \*\*\*") as caught:
        ask(provider, ASKED)
    shown = "".join(traceback.format_exception(caught.value))
    assert "0123456789" not in shown
    assert "AIza" not in shown


@EACH_REPLY
@pytest.mark.parametrize("model", ["../elsewhere", "a?b"])
def test_a_model_name_that_cannot_be_one(provider: GeminiLegacyProvider, ask: Ask, model: str) -> None:
    with pytest.raises(InvalidRequest):
        ask(provider, Request(messages=ASKED.messages, model=model))


@EACH_REPLY
@pytest.mark.parametrize("options", [{"responseLogprobs": object()}, {"thinkingConfig": {"thinkingLevel": "LOW"}}])
def test_options_that_the_sdk_has_no_place_for(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(options))):
        ask(provider, Request(messages=ASKED.messages, options={"gemini-legacy": options}))
    assert sandbox.gemini.request_count == 0
