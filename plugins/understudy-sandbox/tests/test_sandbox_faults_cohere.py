"""What the real Cohere SDK makes of every fault, plain and streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from understudy_sandbox import Fault, Sandbox, faults

cohere = pytest.importorskip("cohere", reason="the SDK of Cohere is not installed")

ASK: dict[str, Any] = {"model": "command-a-03-2025", "messages": [{"role": "user", "content": "Hello there"}]}
BRIEF = {"stall": 0.2, "black_hole": 0.05}  # seconds that a client waits for a server that stays silent

Outcome = tuple[str, Any, str]


def ask(client: Any, stream: bool, timeout: float = 5) -> Outcome:
    """Return what was raised ("" for nothing), the last reply, event or error, and the text that came."""
    text, last = "", None
    options = {"timeout": timeout, "max_retries": 0}
    try:
        if not stream:
            last = client.chat(**ASK, request_options=options)
            content = last.message.content if last.message else None
            return "", last, content[0].text if content else ""
        for last in client.chat_stream(**ASK, request_options=options):
            if last.type == "content-delta":
                text += last.delta.message.content.text
        return "", last, text
    except Exception as error:
        return type(error).__name__, error, text


def named(one: Any) -> str:
    """The part of a test's name that a parameter gives: only the fault's text."""
    return str(one) if isinstance(one, Fault) else "-"


FAILURES: list[tuple[Fault, str, int, str]] = [
    (faults.rate_limited(retry_after=30), "TooManyRequestsError", 429, "20 API calls / minute"),
    (faults.rate_limited(), "TooManyRequestsError", 429, "20 API calls / minute"),
    (faults.quota_exhausted(), "TooManyRequestsError", 429, "1000 API calls / month"),
    (faults.billing(), "ApiError", 402, "billing limit"),
    (faults.request_too_large(), "ApiError", 413, "too large"),
    (faults.overloaded(), "ServiceUnavailableError", 503, "overloaded"),
    (faults.server_error(), "InternalServerError", 500, "internal server error"),
    (faults.timeout(), "GatewayTimeoutError", 504, "timed out"),
    (faults.timeout(408), "ApiError", 408, "timed out"),
    (faults.authentication_failed(), "UnauthorizedError", 401, "Incorrect API key provided"),
    (faults.permission_denied(), "ForbiddenError", 403, "does not have access"),
    (faults.model_not_found(), "NotFoundError", 404, "model 'command-a-03-2025' not found"),
    (faults.context_too_long(), "BadRequestError", 400, "too many tokens"),
    (faults.invalid_request(), "BadRequestError", 400, "invalid request"),
    (faults.blocked(), "InvalidTokenError", 498, "the reply contains a deny-listed token"),
    (faults.blocked(where="prompt"), "InvalidTokenError", 498, "the prompt contains a deny-listed token"),
    (faults.status(418), "ApiError", 418, "HTTP status 418"),
]


@pytest.mark.parametrize(("fault", "kind", "status", "words"), FAILURES, ids=named)
def test_failures(
    sandbox: Sandbox, cohere_client: Any, stream: bool, fault: Fault, kind: str, status: int, words: str
) -> None:
    sandbox.cohere.next(fault)
    raised, error, _ = ask(cohere_client, stream)
    assert (raised, error.status_code, set(error.body)) == (kind, status, {"id", "message"})
    assert words in error.body["message"]
    assert "Understudy sandbox standing in for Cohere" in error.body["message"]
    assert error.headers["x-understudy-sandbox"] == "stand-in"
    assert error.headers["x-debug-trace-id"]
    assert error.headers.get("retry-after") == ("30" if fault == faults.rate_limited(retry_after=30) else None)
    assert ask(cohere_client, stream)[0] == ""
    assert sandbox.cohere.request_count == 2


@pytest.mark.parametrize(("after", "came"), [(0, ""), (2, "This is")])
@pytest.mark.parametrize("kind", faults.FAILURES)
def test_stream_error(sandbox: Sandbox, cohere_client: Any, kind: str, after: int, came: str) -> None:
    sandbox.cohere.next(faults.stream_error(after=after, kind=kind))
    raised, event, text = ask(cohere_client, stream=True)
    assert (raised, event.type, event.delta.finish_reason, text) == ("", "message-end", "ERROR", came)
    assert "Understudy sandbox" in event.delta.error


def test_error_as_a_plain_200(sandbox: Sandbox, cohere_client: Any) -> None:
    sandbox.cohere.next(faults.stream_error())
    raised, reply, text = ask(cohere_client, stream=False)
    assert (raised, reply.finish_reason, text) == ("", "ERROR", "")


SILENT: list[tuple[Fault, str, str, str]] = [
    # fault, then what is raised for a plain request and for a stream, and the text before
    (faults.cut(), "RemoteProtocolError", "RemoteProtocolError", "This"),
    (faults.cut_character(after=1), "RemoteProtocolError", "RemoteProtocolError", "Thé"),
    (faults.reset(after=2), "ReadError", "ReadError", "This is"),
    (faults.reset(), "ReadError", "ReadError", ""),
    (faults.stall(after=3), "ReadTimeout", "ReadTimeout", "This is the"),
    (faults.black_hole(), "ReadTimeout", "ReadTimeout", ""),
    (faults.heartbeats(seconds=0.01), "RemoteProtocolError", "RemoteProtocolError", ""),
    (faults.malformed_json(), "ApiError", "", " is the"),  # the SDK leaves such an event out and logs it
    (faults.stream_end(after=2), "ApiError", "", "This is"),
    (faults.empty_body(), "ApiError", "", ""),
    (faults.html_page(), "ApiError", "SSEError", ""),
    (faults.html_page(502), "ApiError", "ApiError", ""),
    (faults.null_object(), "", "", ""),
    (faults.wrong_content_type("text/html"), "", "SSEError", ""),
]


@pytest.mark.parametrize(("fault", "plain", "streamed", "came"), SILENT, ids=named)
def test_broken_replies(
    sandbox: Sandbox, cohere_client: Any, fault: Fault, plain: str, streamed: str, came: str
) -> None:
    sandbox.cohere.always(fault)
    timeout = BRIEF.get(fault.name, 5)
    raised, what, _ = ask(cohere_client, False, timeout)
    assert raised == plain
    assert raised != "ApiError" or what.status_code in (200, 502)
    raised, _, text = ask(cohere_client, True, timeout)
    assert (raised, text[: len(came)], bool(text)) == (streamed, came, bool(came))
    assert sandbox.cohere.request_count == 2


@pytest.mark.parametrize(
    ("fault", "reason"), [(faults.empty(), "COMPLETE"), (faults.out_of_tokens(), "MAX_TOKENS")], ids=named
)
def test_replies_without_content(sandbox: Sandbox, cohere_client: Any, stream: bool, fault: Fault, reason: str) -> None:
    sandbox.cohere.next(fault)
    raised, last, text = ask(cohere_client, stream)
    assert (raised, (last.delta if stream else last).finish_reason, text) == ("", reason, "")


@pytest.mark.parametrize(
    "fault",
    [faults.slow_first_token(0.02), faults.loading(0.02), faults.dribble(0.001), faults.dribble(0, 7)],
    ids=str,
)
def test_strange_but_whole_replies(sandbox: Sandbox, cohere_client: Any, stream: bool, fault: Fault) -> None:
    sandbox.cohere.reply("Grüße ☕ aus dem Sandkasten")
    sandbox.cohere.next(fault)
    assert ask(cohere_client, stream)[::2] == ("", "Grüße ☕ aus dem Sandkasten")


def test_huge(sandbox: Sandbox, cohere_client: Any, stream: bool) -> None:
    sandbox.cohere.next(faults.huge(megabytes=0.5))
    assert len(ask(cohere_client, stream)[2]) > 500_000


def test_refuse(sandbox: Sandbox, cohere_client: Any, stream: bool) -> None:
    sandbox.cohere.always(faults.refuse())
    assert ask(cohere_client, stream)[0] == "ConnectError"
    sandbox.cohere.heal()
    assert ask(cohere_client, stream)[0] == ""
    assert sandbox.cohere.request_count == 1


def test_async_streams(sandbox: Sandbox) -> None:
    async def talk() -> str:
        url = sandbox.cohere.url
        async with cohere.AsyncClientV2(
            api_key="k", base_url=url, max_retries=0, log_warning_experimental_features=False
        ) as client:
            try:
                return "".join([event.type async for event in client.chat_stream(**ASK)])
            except Exception as error:
                return type(error).__name__

    sandbox.cohere.always(faults.cut())
    assert asyncio.run(talk()) == "RemoteProtocolError"


def test_every_fault_is_covered_here() -> None:
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    assert [name for name in faults.ALL if f"faults.{name}(" not in text] == []
