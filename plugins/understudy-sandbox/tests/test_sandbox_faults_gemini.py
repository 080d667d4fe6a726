"""What the real google-genai SDK makes of every fault, plain and streamed."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from understudy_sandbox import Fault, Sandbox, faults

MODEL = "gemini-2.5-flash-lite"  # does not think unless it is asked to
BRIEF = types.GenerateContentConfig(http_options=types.HttpOptions(timeout=300))  # ms; for servers that stay silent

Outcome = tuple[str, Any, str]


def ask(client: genai.Client, stream: bool, config: types.GenerateContentConfig | None = None) -> Outcome:
    """Return what was raised ("" for nothing), the last chunk or error, and the text that came."""
    text = ""
    last: Any = None
    try:
        if not stream:
            last = client.models.generate_content(model=MODEL, contents="Hello there", config=config)
            return "", last, last.text or ""
        for last in client.models.generate_content_stream(model=MODEL, contents="Hello there", config=config):
            text += last.text or ""
        return "", last, text
    except Exception as error:
        return type(error).__name__, error, text


def named(one: Any) -> str:
    """The part of a test's name that a parameter gives: only the fault's text."""
    return str(one) if isinstance(one, Fault) else "-"


def detail(error: errors.APIError, kind: str) -> dict[str, Any]:
    details = error.details["error"].get("details", [])
    return next((one for one in details if one["@type"] == f"type.googleapis.com/google.rpc.{kind}"), {})


FAILURES: list[tuple[Fault, str, int, str]] = [
    (faults.rate_limited(retry_after=48), "ClientError", 429, "RESOURCE_EXHAUSTED"),
    (faults.rate_limited(), "ClientError", 429, "RESOURCE_EXHAUSTED"),
    (faults.quota_exhausted(), "ClientError", 429, "RESOURCE_EXHAUSTED"),
    (faults.request_too_large(), "ClientError", 400, "INVALID_ARGUMENT"),
    (faults.billing(), "ClientError", 402, "FAILED_PRECONDITION"),
    (faults.overloaded(), "ServerError", 503, "UNAVAILABLE"),
    (faults.server_error(), "ServerError", 500, "INTERNAL"),
    (faults.timeout(), "ServerError", 504, "DEADLINE_EXCEEDED"),
    (faults.timeout(408), "ClientError", 408, "DEADLINE_EXCEEDED"),
    (faults.authentication_failed(), "ClientError", 400, "INVALID_ARGUMENT"),
    (faults.permission_denied(), "ClientError", 403, "PERMISSION_DENIED"),
    (faults.model_not_found(), "ClientError", 404, "NOT_FOUND"),
    (faults.context_too_long(), "ClientError", 400, "INVALID_ARGUMENT"),
    (faults.invalid_request(), "ClientError", 400, "INVALID_ARGUMENT"),
    (faults.status(418), "ClientError", 418, "UNKNOWN"),
    (faults.status(599), "ServerError", 599, "INTERNAL"),
]


@pytest.mark.parametrize(("fault", "kind", "code", "status"), FAILURES, ids=named)
def test_failures(
    sandbox: Sandbox, gemini_client: genai.Client, stream: bool, fault: Fault, kind: str, code: int, status: str
) -> None:
    sandbox.gemini.next(fault)
    raised, error, _ = ask(gemini_client, stream)
    assert (raised, error.code, error.status) == (kind, code, status)
    assert "Understudy sandbox" in error.message
    assert error.response.headers["x-understudy-sandbox"] == "stand-in"
    assert "retry-after" not in error.response.headers
    assert sandbox.gemini.requests[0].fault == str(fault)
    assert ask(gemini_client, stream)[2].startswith("This is the Understudy sandbox")
    assert sandbox.gemini.request_count == 2


def test_hints_are_in_the_body(sandbox: Sandbox, gemini_client: genai.Client, stream: bool) -> None:
    sandbox.gemini.next(
        faults.rate_limited(retry_after=48),
        faults.rate_limited(),
        faults.quota_exhausted(),
        faults.authentication_failed(),
    )
    hinted, plain, exhausted, refused = (ask(gemini_client, stream)[1] for _ in range(4))
    assert detail(hinted, "RetryInfo")["retryDelay"] == "48s"
    assert "PerMinute" in detail(hinted, "QuotaFailure")["violations"][0]["quotaId"]
    assert detail(plain, "RetryInfo") == {}
    assert "PerDay" in detail(exhausted, "QuotaFailure")["violations"][0]["quotaId"]
    assert detail(exhausted, "RetryInfo")["retryDelay"] == "36s"
    assert detail(refused, "ErrorInfo")["reason"] == "API_KEY_INVALID"


def test_vertex_gives_no_details(sandbox: Sandbox) -> None:
    sandbox.gemini.next(faults.rate_limited())
    path = f"/v1/projects/p/locations/l/publishers/google/models/{MODEL}:generateContent"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(sandbox.gemini.url + path, data=b"{}", timeout=60)
    with caught.value as reply:
        assert "details" not in json.loads(reply.read())["error"]


def test_errors_of_an_array_stream_are_arrays(sandbox: Sandbox) -> None:
    url = f"{sandbox.gemini.url}/v1/models/{MODEL}:streamGenerateContent?key=k"
    body = json.dumps({"contents": [{"parts": [{"text": "x"}]}]}).encode()
    sandbox.gemini.next(faults.overloaded(), faults.stream_error(), faults.stream_error(after=2))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, data=body, timeout=60)
    with caught.value as reply:
        assert json.loads(reply.read())[0]["error"]["code"] == 503
    for before in (0, 2):
        with urllib.request.urlopen(url, data=body, timeout=60) as reply:
            chunks = json.loads(reply.read())
        assert len(chunks) == before + 1
        assert chunks[-1]["error"]["status"] == "UNAVAILABLE"


def test_status_with_its_own_body_and_headers(sandbox: Sandbox, gemini_client: genai.Client, stream: bool) -> None:
    body = {"error": {"code": "429", "message": "slow down"}}
    sandbox.gemini.next(faults.status(429, body, {"Retry-After": "7"}), faults.status(503, "upstream"))
    _, error, _ = ask(gemini_client, stream)
    assert (error.details, error.response.headers["retry-after"]) == (body, "7")
    assert ask(gemini_client, stream)[1].code == 503


@pytest.mark.parametrize(("after", "came"), [(0, ""), (2, "This is")])
def test_stream_error(sandbox: Sandbox, gemini_client: genai.Client, after: int, came: str) -> None:
    sandbox.gemini.next(faults.stream_error(after=after), faults.stream_error(kind="rate_limited"))
    raised, error, text = ask(gemini_client, stream=True)
    assert (raised, error.code, error.status, text) == ("ServerError", 503, "UNAVAILABLE", came)
    raised, plain, text = ask(gemini_client, stream=False)
    assert (raised, plain.candidates, text) == ("", None, "")


BROKEN: list[tuple[Fault, str, str, str]] = [
    # fault, what is raised for a plain request, what for a stream, and the text before
    (faults.cut(), "RemoteProtocolError", "RemoteProtocolError", "This"),
    (faults.cut(after=0), "RemoteProtocolError", "RemoteProtocolError", ""),
    (faults.reset(after=2), "ReadError", "ReadError", "This is"),
    (faults.reset(), "ReadError", "ReadError", ""),
    (faults.stall(after=3), "ReadTimeout", "ReadTimeout", "This is the"),
    (faults.stall(seconds=0.01), "RemoteProtocolError", "RemoteProtocolError", "This"),
    (faults.black_hole(), "ReadTimeout", "ReadTimeout", ""),
    (faults.black_hole(seconds=0.01), "RemoteProtocolError", "RemoteProtocolError", ""),
    (faults.heartbeats(seconds=0.01), "RemoteProtocolError", "RemoteProtocolError", ""),
    (faults.malformed_json(), "JSONDecodeError", "UnknownApiResponseError", ""),
    (faults.malformed_json(after=2), "JSONDecodeError", "UnknownApiResponseError", "This is"),
    (faults.stream_end(after=2), "JSONDecodeError", "", "This is"),
    (faults.stream_end(after=0), "", "", ""),
    (faults.empty_body(), "", "", ""),
    (faults.html_page(), "JSONDecodeError", "UnknownApiResponseError", ""),
    (faults.html_page(502), "ServerError", "ServerError", ""),
    (faults.null_object(), "", "", ""),
    (faults.cut_character(after=2), "RemoteProtocolError", "RemoteProtocolError", "Thé Ündérstüdy"),
]


@pytest.mark.parametrize(("fault", "plain", "streamed", "came"), BROKEN, ids=named)
def test_broken_replies(
    sandbox: Sandbox, gemini_client: genai.Client, fault: Fault, plain: str, streamed: str, came: str
) -> None:
    sandbox.gemini.always(fault)
    config = BRIEF if plain == "ReadTimeout" else None
    assert ask(gemini_client, stream=False, config=config)[::2] == (plain, "")
    raised, last, text = ask(gemini_client, stream=True, config=config)
    assert (raised, text) == (streamed, came)
    if fault.name == "stream_end" and came:
        assert last.candidates[0].finish_reason is None
    assert sandbox.gemini.request_count == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(faults.blocked(), "SAFETY"), (faults.empty(), "STOP"), (faults.out_of_tokens(), "MAX_TOKENS")],
)
def test_replies_without_content(
    sandbox: Sandbox, gemini_client: genai.Client, stream: bool, fault: Fault, reason: str
) -> None:
    sandbox.gemini.next(fault)
    raised, response, text = ask(gemini_client, stream)
    assert (raised, text, response.candidates[0].finish_reason) == ("", "", reason)


def test_blocked_prompt(sandbox: Sandbox, gemini_client: genai.Client, stream: bool) -> None:
    sandbox.gemini.next(faults.blocked(where="prompt"))
    raised, response, _ = ask(gemini_client, stream)
    assert (raised, response.candidates, response.prompt_feedback.block_reason) == ("", None, "SAFETY")


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
def test_strange_but_whole_replies(sandbox: Sandbox, gemini_client: genai.Client, stream: bool, fault: Fault) -> None:
    sandbox.gemini.reply("Grüße ☕ aus dem Sandkasten")
    sandbox.gemini.next(fault)
    raised, last, text = ask(gemini_client, stream)
    assert (raised, text, last.candidates[0].finish_reason) == ("", "Grüße ☕ aus dem Sandkasten", "STOP")


def test_huge(sandbox: Sandbox, gemini_client: genai.Client, stream: bool) -> None:
    sandbox.gemini.next(faults.huge(megabytes=1))
    assert len(ask(gemini_client, stream)[2]) > 1_000_000


def test_refuse(sandbox: Sandbox, gemini_client: genai.Client, stream: bool) -> None:
    ask(gemini_client, stream)
    sandbox.gemini.always(faults.refuse())
    assert ask(gemini_client, stream)[0] == "ConnectError"
    sandbox.gemini.heal()
    assert ask(gemini_client, stream)[0] == ""
    assert sandbox.gemini.request_count == 2


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (faults.overloaded(), "ServerError"),
        (faults.stream_error(after=1), "ServerError"),
        (faults.cut(), "RemoteProtocolError"),
        (faults.reset(after=1), "ReadError"),
        (faults.stall(), "ReadTimeout"),
        (faults.refuse(), "ConnectError"),
    ],
    ids=named,
)
def test_async_streams(
    sandbox: Sandbox, new_gemini_client: Callable[[], genai.Client], fault: Fault, raised: str
) -> None:
    client = new_gemini_client()

    async def talk() -> str:
        try:
            stream = await client.aio.models.generate_content_stream(model=MODEL, contents="Hello there", config=BRIEF)
            return "".join([chunk.text or "" async for chunk in stream])
        except Exception as error:
            return type(error).__name__
        finally:
            await client.aio.aclose()

    sandbox.gemini.always(fault)
    assert asyncio.run(talk()) == raised
    client.close()


def test_every_fault_is_covered_here(sandbox: Sandbox) -> None:
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    assert [name for name in faults.ALL if f"faults.{name}(" not in text] == []
