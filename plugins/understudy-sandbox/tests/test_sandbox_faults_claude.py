"""What the real Anthropic SDK makes of every fault, plain and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest

from understudy_sandbox import Fault, Sandbox, faults

ASK: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello there"}],
}
BRIEF = 0.3  # seconds that a client waits for a server that stays silent

Outcome = tuple[str, Any, str]


def ask(client: anthropic.Anthropic, stream: bool) -> Outcome:
    """Return what was raised ("" for nothing), the last message or error, and the text that came."""
    text = ""
    try:
        if not stream:
            message = client.messages.create(**ASK)
            if isinstance(message, anthropic.types.Message) and message.content:
                text = message.content[0].text
            return "", message, text
        last: Any = None
        with client.messages.create(**ASK, stream=True) as events:
            for last in events:
                if last.type == "content_block_delta":
                    text += last.delta.text
        return "", last, text
    except Exception as error:
        return type(error).__name__, error, text


def read_into(raw: bytearray, url: str) -> None:
    """Read a stream's bytes until it ends or breaks."""
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    body = {**ASK, "stream": True}
    with httpx2.stream("POST", f"{url}/v1/messages", json=body, headers=headers) as response:
        for piece in response.iter_raw():
            raw += piece


def named(one: Any) -> str:
    """The part of a test's name that a parameter gives: only the fault's text."""
    return str(one) if isinstance(one, Fault) else "-"


FAILURES: list[tuple[Fault, type[Exception], int, str, str | None]] = [
    (faults.rate_limited(retry_after=30), anthropic.RateLimitError, 429, "rate_limit_error", "true"),
    (faults.rate_limited(), anthropic.RateLimitError, 429, "rate_limit_error", "true"),
    (faults.quota_exhausted(), anthropic.EnforcedSpendLimitReachedError, 429, "rate_limit_error", "false"),
    (faults.request_too_large(), anthropic.RateLimitError, 429, "rate_limit_error", "false"),
    (faults.billing(), anthropic.PaymentRequiredError, 402, "billing_error", "false"),
    (faults.overloaded(), anthropic.OverloadedError, 529, "overloaded_error", "true"),
    (faults.server_error(), anthropic.InternalServerError, 500, "api_error", None),
    (faults.timeout(), anthropic.GatewayTimeoutError, 504, "timeout_error", None),
    (faults.timeout(408), anthropic.RequestTimeoutError, 408, "timeout_error", None),
    (faults.authentication_failed(), anthropic.AuthenticationError, 401, "authentication_error", "false"),
    (faults.permission_denied(), anthropic.PermissionDeniedError, 403, "permission_error", "false"),
    (faults.model_not_found(), anthropic.NotFoundError, 404, "not_found_error", "false"),
    (faults.context_too_long(), anthropic.BadRequestError, 400, "invalid_request_error", "false"),
    (faults.invalid_request(), anthropic.BadRequestError, 400, "invalid_request_error", "false"),
    (faults.status(418), anthropic.APIStatusError, 418, "invalid_request_error", None),
    (faults.status(599), anthropic.InternalServerError, 599, "api_error", None),
]


@pytest.mark.parametrize(("fault", "kind", "status", "type_", "retry"), FAILURES, ids=named)
def test_failures(
    sandbox: Sandbox,
    claude_client: anthropic.Anthropic,
    stream: bool,
    fault: Fault,
    kind: type[Exception],
    status: int,
    type_: str,
    retry: str | None,
) -> None:
    sandbox.claude.next(fault)
    raised, error, _ = ask(claude_client, stream)
    assert raised == kind.__name__
    assert (error.status_code, error.type) == (status, type_)
    assert "Understudy sandbox" in error.api_message
    headers = error.response.headers
    assert headers["x-understudy-sandbox"] == "stand-in"
    assert headers.get("x-should-retry") == retry
    assert headers.get("retry-after") == ("30" if fault == faults.rate_limited(retry_after=30) else None)
    assert error.request_id == error.body["request_id"]
    assert sandbox.claude.requests[0].fault == str(fault)
    assert ask(claude_client, stream)[2].startswith("This is the Understudy sandbox")
    assert sandbox.claude.request_count == 2


def test_status_with_its_own_body_and_headers(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, stream: bool
) -> None:
    sandbox.claude.next(faults.status(503, "upstream connect error", {"Retry-After": "7"}), faults.status(204))
    _, error, _ = ask(claude_client, stream)
    assert (error.status_code, error.body, error.response.headers["retry-after"]) == (
        503,
        "upstream connect error",
        "7",
    )
    sandbox.claude.heal()
    sandbox.claude.next(faults.status(429, {"error": {"type": "x"}}))
    assert ask(claude_client, stream)[1].body == {"error": {"type": "x"}}


@pytest.mark.parametrize(("after", "came"), [(0, ""), (2, "This is")])
def test_stream_error(sandbox: Sandbox, claude_client: anthropic.Anthropic, after: int, came: str) -> None:
    sandbox.claude.next(faults.stream_error(after=after), faults.stream_error(kind="rate_limited"))
    raised, error, text = ask(claude_client, stream=True)
    assert (raised, error.status_code, error.type, text) == ("APIStatusError", 200, "overloaded_error", came)
    _, plain, _ = ask(claude_client, stream=False)
    assert plain.type == "error"
    assert plain.content is None


Check = Callable[[Any], object]
SILENT: list[tuple[Fault, str, Check, str, str, str]] = [
    # fault, then for a plain request what is raised and what holds, for a stream what is raised and the text before
    (faults.cut(), "APIConnectionError", lambda e: e.__cause__, "RemoteProtocolError", "This", "peer closed"),
    (faults.cut(after=0), "APIConnectionError", lambda e: e.__cause__, "RemoteProtocolError", "", "peer closed"),
    (faults.reset(after=2), "APIConnectionError", lambda e: e.__cause__, "ReadError", "This is", "reset"),
    (faults.reset(), "APIConnectionError", lambda e: e.__cause__, "APIConnectionError", "", "Connection"),
    (faults.stall(after=3), "APITimeoutError", lambda e: e.__cause__, "ReadTimeout", "This is the", "timed out"),
    (faults.black_hole(), "APITimeoutError", lambda e: e.__cause__, "APITimeoutError", "", "timed out"),
    (faults.black_hole(seconds=0.01), "APIConnectionError", lambda e: e.__cause__, "APIConnectionError", "", ""),
    (faults.heartbeats(seconds=0.01), "APIConnectionError", lambda e: e.__cause__, "RemoteProtocolError", "", "peer"),
    (faults.malformed_json(), "JSONDecodeError", str, "JSONDecodeError", "", ""),
    (faults.malformed_json(after=2), "JSONDecodeError", str, "JSONDecodeError", "This is", ""),
    (faults.stream_end(after=2), "JSONDecodeError", str, "", "This is", ""),
    (faults.stream_end(after=0), "JSONDecodeError", str, "", "", ""),
    (faults.empty_body(), "JSONDecodeError", str, "", "", ""),
    (faults.html_page(), "", lambda page: page.startswith("<!DOCTYPE html>"), "", "", ""),
    (faults.html_page(502), "InternalServerError", lambda e: e.status_code == 502, "InternalServerError", "", "502"),
    (faults.null_object(), "", lambda message: message.content is None, "", "", ""),
]


@pytest.mark.parametrize(("fault", "plain", "holds", "streamed", "came", "says"), SILENT, ids=named)
def test_broken_replies(
    sandbox: Sandbox,
    claude_client: anthropic.Anthropic,
    fault: Fault,
    plain: str,
    holds: Check,
    streamed: str,
    came: str,
    says: str,
) -> None:
    sandbox.claude.always(fault)
    impatient = claude_client.with_options(timeout=BRIEF) if says == "timed out" else claude_client
    raised, what, text = ask(impatient, stream=False)
    assert (raised, text) == (plain, "")
    assert holds(what)
    raised, what, text = ask(impatient, stream=True)
    assert (raised, text) == (streamed, came)
    assert says in str(what)
    assert sandbox.claude.request_count == 2


def test_cut_character(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    sandbox.claude.next(faults.cut_character(after=2), times=2)
    assert ask(claude_client, stream=False)[0] == "APIConnectionError"
    assert ask(claude_client, stream=True)[::2] == ("RemoteProtocolError", "Thé Ündérstüdy")
    sandbox.claude.next(faults.cut_character(after=1))
    raw = bytearray()
    with pytest.raises(httpx2.RemoteProtocolError):
        read_into(raw, sandbox.claude.url)
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        raw.decode()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(faults.blocked(), "refusal"), (faults.empty(), "end_turn"), (faults.out_of_tokens(), "max_tokens")],
)
def test_replies_without_content(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, stream: bool, fault: Fault, reason: str
) -> None:
    sandbox.claude.next(fault)
    if stream:
        with claude_client.messages.stream(**ASK) as events:
            message: Any = events.get_final_message()
    else:
        message = claude_client.messages.create(**ASK)
    assert (message.content, message.stop_reason) == ([], reason)
    assert (message.stop_details is not None) is (reason == "refusal")


@pytest.mark.parametrize(
    "fault",
    [
        faults.slow_first_token(0.05),
        faults.loading(0.02),
        faults.dribble(0.001),
        faults.dribble(0, size=7),
        faults.wrong_content_type(),
    ],
    ids=str,
)
def test_strange_but_whole_replies(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, stream: bool, fault: Fault
) -> None:
    sandbox.claude.reply("Grüße ☕ aus dem Sandkasten")
    sandbox.claude.next(fault)
    raised, what, text = ask(claude_client, stream)
    assert (raised, text) == ("", "Grüße ☕ aus dem Sandkasten")
    if not stream:
        assert what.stop_reason == "end_turn"


def test_slow_first_token_times_out(sandbox: Sandbox, claude_client: anthropic.Anthropic, stream: bool) -> None:
    sandbox.claude.next(faults.slow_first_token(30))
    raised, _, text = ask(claude_client.with_options(timeout=BRIEF), stream)
    assert (raised, text) == ("ReadTimeout" if stream else "APITimeoutError", "")


def test_huge(sandbox: Sandbox, claude_client: anthropic.Anthropic, stream: bool) -> None:
    sandbox.claude.next(faults.huge(megabytes=1))
    assert len(ask(claude_client, stream)[2]) > 1_000_000


def test_refuse(sandbox: Sandbox, claude_client: anthropic.Anthropic, stream: bool) -> None:
    ask(claude_client, stream)
    sandbox.claude.always(faults.refuse())
    raised, error, _ = ask(claude_client, stream)
    assert raised == "APIConnectionError"
    assert isinstance(error.__cause__, httpx2.ConnectError)
    sandbox.claude.heal()
    assert ask(claude_client, stream)[0] == ""
    assert sandbox.claude.request_count == 2


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (faults.overloaded(), "OverloadedError"),
        (faults.stream_error(after=1), "APIStatusError"),
        (faults.cut(), "RemoteProtocolError"),
        (faults.reset(after=1), "ReadError"),
        (faults.stall(), "ReadTimeout"),
        (faults.refuse(), "APIConnectionError"),
    ],
    ids=named,
)
def test_async_streams(sandbox: Sandbox, fault: Fault, raised: str) -> None:
    async def talk() -> str:
        async with anthropic.AsyncAnthropic(
            api_key="k", base_url=sandbox.claude.url, max_retries=0, timeout=BRIEF
        ) as client:
            try:
                async with await client.messages.create(**ASK, stream=True) as events:
                    return "".join([event.type async for event in events])
            except Exception as error:
                return type(error).__name__

    sandbox.claude.always(fault)
    assert asyncio.run(talk()) == raised


def test_every_fault_is_covered_here(sandbox: Sandbox) -> None:
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    assert [name for name in faults.ALL if f"faults.{name}(" not in text] == []
