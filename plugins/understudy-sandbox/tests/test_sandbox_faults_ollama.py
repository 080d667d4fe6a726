"""What the real Ollama SDK makes of every fault, plain and streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from understudy_sandbox import Fault, Sandbox, faults

ollama = pytest.importorskip("ollama", reason="the SDK of Ollama is not installed")

MODEL = "gemma4"
HELLO = [{"role": "user", "content": "Hello there"}]
BRIEF = {"stall": 0.2, "black_hole": 0.05}  # seconds that a client waits for a server that stays silent

Outcome = tuple[str, Any, str]


def ask(client: Any, stream: bool) -> Outcome:
    """Return what was raised ("" for nothing), the last line or error, and the text that came."""
    text, last = "", None
    try:
        if not stream:
            last = client.chat(MODEL, HELLO)
            return "", last, last.message.content
        for last in client.chat(MODEL, HELLO, stream=True):
            text += last.message.content
        return "", last, text
    except Exception as error:
        return type(error).__name__, error, text


def named(one: Any) -> str:
    """The part of a test's name that a parameter gives: only the fault's text."""
    return str(one) if isinstance(one, Fault) else "-"


FAILURES: list[tuple[Fault, int, str]] = [
    (faults.rate_limited(retry_after=30), 429, "too many concurrent requests"),
    (faults.rate_limited(), 429, "too many concurrent requests"),
    (faults.quota_exhausted(), 429, "weekly usage limit"),
    (faults.billing(), 402, "requires a subscription"),
    (faults.request_too_large(), 413, "request body too large"),
    (faults.overloaded(), 503, "server busy, please try again.  maximum pending requests exceeded"),
    (faults.server_error(), 500, "llama runner process has terminated"),
    (faults.timeout(), 504, "timed out"),
    (faults.timeout(408), 408, "timed out"),
    (faults.authentication_failed(), 401, "unauthorized"),
    (faults.permission_denied(), 403, "not available"),
    (faults.model_not_found(), 404, "model 'gemma4' not found"),
    (faults.context_too_long(), 400, "prompt too long; exceeded max context length"),
    (faults.invalid_request(), 400, "invalid options"),
    (faults.status(418), 418, "HTTP status 418"),
]


@pytest.mark.parametrize(("fault", "status", "words"), FAILURES, ids=named)
def test_failures(sandbox: Sandbox, ollama_client: Any, stream: bool, fault: Fault, status: int, words: str) -> None:
    sandbox.ollama.next(fault)
    raised, error, _ = ask(ollama_client, stream)
    assert (raised, error.status_code) == ("ResponseError", status)
    assert words in error.error
    assert "Understudy sandbox standing in for Ollama" in error.error
    headers = error.__context__.response.headers
    assert headers["x-understudy-sandbox"] == "stand-in"
    assert headers.get("retry-after") == ("30" if fault == faults.rate_limited(retry_after=30) else None)
    assert ask(ollama_client, stream)[0] == ""


@pytest.mark.parametrize(("after", "came"), [(0, ""), (2, "This is")])
def test_error_line(sandbox: Sandbox, ollama_client: Any, after: int, came: str) -> None:
    sandbox.ollama.next(faults.stream_error(after=after, kind="server_error"), faults.stream_error())
    raised, error, text = ask(ollama_client, stream=True)
    assert (raised, error.status_code, text) == ("ResponseError", -1, came)
    assert "llama runner" in error.error
    raised, error, _ = ask(ollama_client, stream=False)
    assert raised == "ValidationError"
    assert "server busy" in str(error)


SILENT: list[tuple[Fault, str, str, str]] = [
    # fault, then what is raised for a plain request and for a stream, and the text before
    (faults.cut(), "RemoteProtocolError", "RemoteProtocolError", "This"),
    (faults.cut_character(after=1), "RemoteProtocolError", "RemoteProtocolError", "Thé"),
    (faults.reset(after=2), "ReadError", "ReadError", "This is"),
    (faults.reset(), "ReadError", "ReadError", ""),
    (faults.stall(after=3), "ReadTimeout", "ReadTimeout", "This is the"),
    (faults.black_hole(), "ReadTimeout", "ReadTimeout", ""),
    (faults.heartbeats(seconds=0.01), "RemoteProtocolError", "RemoteProtocolError", ""),
    (faults.malformed_json(), "JSONDecodeError", "JSONDecodeError", ""),
    (faults.malformed_json(after=2), "JSONDecodeError", "JSONDecodeError", "This is"),
    (faults.stream_end(after=2), "JSONDecodeError", "", "This is"),
    (faults.empty_body(), "JSONDecodeError", "", ""),
    (faults.html_page(), "JSONDecodeError", "JSONDecodeError", ""),
    (faults.html_page(502), "ResponseError", "ResponseError", ""),
    (faults.null_object(), "ValidationError", "ValidationError", ""),
]


@pytest.mark.parametrize(("fault", "plain", "streamed", "came"), SILENT, ids=named)
def test_broken_replies(
    sandbox: Sandbox, ollama_client: Any, fault: Fault, plain: str, streamed: str, came: str
) -> None:
    sandbox.ollama.always(fault)
    with ollama.Client(host=sandbox.ollama.url, timeout=BRIEF.get(fault.name, 5)) as client:
        assert ask(client, stream=False)[::2] == (plain, "")
        assert ask(client, stream=True)[::2] == (streamed, came)
    assert sandbox.ollama.request_count == 2


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        (faults.blocked(), "stop", "I can't help with that."),
        (faults.blocked(where="prompt"), "stop", "I can't help with that."),
        (faults.empty(), "stop", ""),
        (faults.out_of_tokens(), "length", ""),
    ],
    ids=named,
)
def test_replies_without_content(
    sandbox: Sandbox, ollama_client: Any, stream: bool, fault: Fault, reason: str, said: str
) -> None:
    sandbox.ollama.next(fault)
    raised, last, text = ask(ollama_client, stream)
    assert (raised, last.done_reason, text.partition(" [")[0]) == ("", reason, said)


@pytest.mark.parametrize(
    "fault",
    [
        *(faults.slow_first_token(0.02), faults.loading(0.02), faults.dribble(0.001), faults.dribble(0, size=7)),
        faults.wrong_content_type(),
    ],
    ids=str,
)
def test_strange_but_whole_replies(sandbox: Sandbox, ollama_client: Any, stream: bool, fault: Fault) -> None:
    sandbox.ollama.reply("Grüße ☕ aus dem Sandkasten")
    sandbox.ollama.next(fault)
    assert ask(ollama_client, stream)[::2] == ("", "Grüße ☕ aus dem Sandkasten")


def test_huge(sandbox: Sandbox, ollama_client: Any, stream: bool) -> None:
    sandbox.ollama.next(faults.huge(megabytes=1))
    assert len(ask(ollama_client, stream)[2]) > 1_000_000


def test_refuse(sandbox: Sandbox, ollama_client: Any, stream: bool) -> None:
    sandbox.ollama.always(faults.refuse())
    assert ask(ollama_client, stream)[0] == ("ConnectError" if stream else "ConnectionError")
    sandbox.ollama.heal()
    assert ask(ollama_client, stream)[0] == ""
    assert sandbox.ollama.request_count == 1


@pytest.mark.parametrize(
    ("fault", "raised"),
    [(faults.cut(), "RemoteProtocolError"), (faults.stream_error(after=1), "ResponseError")],
    ids=named,
)
def test_async_streams(sandbox: Sandbox, fault: Fault, raised: str) -> None:
    async def talk() -> str:
        async with ollama.AsyncClient(host=sandbox.ollama.url, timeout=60) as client:
            try:
                return "".join([line.message.content async for line in await client.chat(MODEL, HELLO, stream=True)])
            except Exception as error:
                return type(error).__name__

    sandbox.ollama.always(fault)
    assert asyncio.run(talk()) == raised


def test_every_fault_is_covered_here() -> None:
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    assert [name for name in faults.ALL if f"faults.{name}(" not in text] == []
