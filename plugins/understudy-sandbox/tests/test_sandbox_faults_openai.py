"""What the real OpenAI SDK makes of every fault, in both APIs, plain and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from understudy_sandbox import Fault, Sandbox, faults

openai = pytest.importorskip("openai", reason="the SDK of OpenAI is not installed")
httpx2 = pytest.importorskip("httpx2")  # comes with it

CHAT: dict[str, Any] = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Hello there"}]}
RESPONSE: dict[str, Any] = {"model": "gpt-6-luna", "input": "Hello there"}
BRIEF = {"stall": 0.2, "black_hole": 0.05}  # seconds that a client waits for a server that stays silent

Outcome = tuple[str, Any, str]


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(client: Any, api: str, stream: bool, **more: Any) -> Outcome:
    """Return what was raised ("" for nothing), the last reply, event or error, and the text that came."""
    text, last = "", None
    try:
        if api == "chat":
            last = client.chat.completions.create(**CHAT, **more, stream=stream)
        else:
            last = client.responses.create(**RESPONSE, **more, stream=stream)
        if not stream:
            return "", last, plain_text(last)
        with last as events:
            for last in events:
                text += delta_of(last)
        return "", last, text
    except Exception as error:
        return type(error).__name__, error, text


def plain_text(reply: Any) -> str:
    if getattr(reply, "choices", None):
        return reply.choices[0].message.content or ""
    return reply.output_text if getattr(reply, "output", None) else ""


def delta_of(event: Any) -> str:
    if getattr(event, "choices", None):
        return event.choices[0].delta.content or ""
    return str(event.delta) if getattr(event, "type", None) == "response.output_text.delta" else ""


def named(one: Any) -> str:
    """The part of a test's name that a parameter gives: only the fault's text."""
    return str(one) if isinstance(one, Fault) else "-"


QUOTA = "insufficient_quota"
INVALID = "invalid_request_error"
FORBIDDEN = "unsupported_country_region_territory"
FAILURES: list[tuple[Fault, str, int, str | None, str | None]] = [
    (faults.rate_limited(retry_after=30), "RateLimitError", 429, "rate_limit_exceeded", "tokens"),
    (faults.rate_limited(), "RateLimitError", 429, "rate_limit_exceeded", "tokens"),
    (faults.quota_exhausted(), "RateLimitError", 429, QUOTA, QUOTA),
    (faults.billing(), "RateLimitError", 429, "credit_balance_exhausted", QUOTA),
    (faults.request_too_large(), "RateLimitError", 429, "rate_limit_exceeded", "tokens"),
    (faults.overloaded(), "InternalServerError", 503, None, None),
    (faults.server_error(), "InternalServerError", 500, "server_error", "server_error"),
    (faults.timeout(), "InternalServerError", 504, None, None),
    (faults.timeout(408), "APIStatusError", 408, None, None),
    (faults.authentication_failed(), "AuthenticationError", 401, "invalid_api_key", INVALID),
    (faults.permission_denied(), "PermissionDeniedError", 403, FORBIDDEN, "request_forbidden"),
    (faults.model_not_found(), "NotFoundError", 404, "model_not_found", INVALID),
    (faults.context_too_long(), "BadRequestError", 400, "context_length_exceeded", INVALID),
    (faults.invalid_request(), "BadRequestError", 400, "invalid_value", INVALID),
    (faults.blocked(where="prompt"), "BadRequestError", 400, "invalid_prompt", INVALID),
    (faults.status(418), "APIStatusError", 418, None, INVALID),
    (faults.status(599), "InternalServerError", 599, None, "server_error"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "kind", "status", "code", "type_"), FAILURES, ids=named)
def test_failures(
    sandbox: Sandbox, openai_client: Any, api: str, fault: Fault, kind: str, status: int, code: Any, type_: Any
) -> None:
    for stream in (False, True):
        sandbox.openai.next(fault)
        raised, error, _ = ask(openai_client, api, stream)
        assert (raised, error.status_code, error.code, error.type) == (kind, status, code, type_)
        assert "Understudy sandbox standing in for OpenAI" in str(error.body)
        headers = error.response.headers
        assert headers["x-understudy-sandbox"] == "stand-in"
        assert error.request_id.startswith("req_")
        hint = ("30", "30000") if fault == faults.rate_limited(retry_after=30) else (None, None)
        assert (headers.get("retry-after"), headers.get("retry-after-ms")) == hint
        gateway = code is None and fault.name != "status"
        assert headers["content-type"].startswith("text/plain" if gateway else "application/json")
    assert sandbox.openai.request_count == 2


def test_a_request_that_can_never_fit_says_so_in_words_only(sandbox: Sandbox, openai_client: Any) -> None:
    sandbox.openai.next(faults.request_too_large(), faults.context_too_long())
    assert "Request too large for gpt-4.1-mini in" in ask(openai_client, "chat", False)[1].message
    assert ask(openai_client, "responses", False)[1].param == "input"


@pytest.mark.parametrize(("after", "came"), [(0, ""), (2, "This is")])
@pytest.mark.parametrize("kind", faults.FAILURES)
def test_stream_error_in_chat(sandbox: Sandbox, openai_client: Any, kind: str, after: int, came: str) -> None:
    sandbox.openai.next(faults.stream_error(after=after, kind=kind))
    raised, error, text = ask(openai_client, "chat", True)
    assert (raised, text, hasattr(error, "status_code")) == ("APIError", came, False)
    assert error.code
    assert "Understudy sandbox" in error.message


@pytest.mark.parametrize(("after", "came", "number"), [(0, "", 0), (2, "This is", 8)])
def test_stream_error_in_responses(sandbox: Sandbox, openai_client: Any, after: int, came: str, number: int) -> None:
    sandbox.openai.next(faults.stream_error(after=after), faults.stream_error(after=after, kind="rate_limited"))
    raised, event, text = ask(openai_client, "responses", True)
    assert (raised, event.type, event.code, text) == ("", "error", "server_is_overloaded", came)
    assert event.sequence_number == number
    raised, event, text = ask(openai_client, "responses", True)
    assert (raised, event.type, text) == ("", "response.failed", came)
    assert (event.response.status, event.response.error.code) == ("failed", "rate_limit_exceeded")
    assert event.sequence_number == (number or 1)


def test_error_as_a_plain_200(sandbox: Sandbox, openai_client: Any) -> None:
    sandbox.openai.next(faults.stream_error(), times=2)
    _, reply, _ = ask(openai_client, "chat", False)
    assert (reply.choices, reply.error["code"]) == (None, "server_is_overloaded")
    _, reply, _ = ask(openai_client, "responses", False)
    assert (reply.status, reply.error.code, reply.output) == ("failed", "server_is_overloaded", [])


Check = Callable[[Any], object]
SILENT: list[tuple[Fault, str, Check, str, str]] = [
    # fault, then for a plain request what is raised and what holds, for a stream what is raised and the text before
    (faults.cut(), "APIConnectionError", lambda e: e.__cause__, "APIConnectionError", "This"),
    (faults.cut(after=0), "APIConnectionError", lambda e: e.__cause__, "APIConnectionError", ""),
    (faults.cut_character(after=1), "APIConnectionError", str, "APIConnectionError", "Thé"),
    (faults.reset(after=2), "APIConnectionError", lambda e: e.__cause__, "APIConnectionError", "This is"),
    (faults.reset(), "APIConnectionError", lambda e: e.__cause__, "APIConnectionError", ""),
    (faults.stall(after=3), "APITimeoutError", lambda e: e.__cause__, "APITimeoutError", "This is the"),
    (faults.black_hole(), "APITimeoutError", lambda e: e.__cause__, "APITimeoutError", ""),
    (faults.heartbeats(seconds=0.01), "APIConnectionError", lambda e: e.__cause__, "APIConnectionError", ""),
    (faults.malformed_json(), "JSONDecodeError", str, "JSONDecodeError", ""),
    (faults.malformed_json(after=2), "JSONDecodeError", str, "JSONDecodeError", "This is"),
    (faults.stream_end(after=2), "JSONDecodeError", str, "", "This is"),
    (faults.empty_body(), "JSONDecodeError", str, "", ""),
    (faults.html_page(), "", lambda page: page.startswith("<!DOCTYPE html>"), "", ""),
    (faults.html_page(502), "InternalServerError", lambda e: e.status_code == 502, "InternalServerError", ""),
    (faults.null_object(), "", lambda reply: not getattr(reply, "choices", None), "", ""),
]


@pytest.mark.parametrize(("fault", "plain", "holds", "streamed", "came"), SILENT, ids=named)
def test_broken_replies(
    sandbox: Sandbox, openai_client: Any, api: str, fault: Fault, plain: str, holds: Check, streamed: str, came: str
) -> None:
    sandbox.openai.always(fault)
    client = openai_client.with_options(timeout=BRIEF.get(fault.name, 5))
    raised, what, text = ask(client, api, stream=False)
    assert (raised, text) == (plain, "")
    assert holds(what)
    raised, what, text = ask(client, api, stream=True)
    assert (raised, text) == (streamed, came)
    assert sandbox.openai.request_count == 2


@pytest.mark.parametrize(
    ("fault", "reason", "status"),
    [
        (faults.blocked(), "content_filter", "content_filter"),
        (faults.empty(), "stop", "completed"),
        (faults.out_of_tokens(), "length", "max_output_tokens"),
    ],
    ids=named,
)
def test_replies_without_content(
    sandbox: Sandbox, openai_client: Any, stream: bool, fault: Fault, reason: str, status: str
) -> None:
    sandbox.openai.next(fault, times=2)
    _, reply, text = ask(openai_client, "chat", stream)
    assert (text, reply.choices[0].finish_reason) == ("", reason)
    _, reply, text = ask(openai_client, "responses", stream)
    response = reply.response if stream else reply
    details = response.incomplete_details
    assert (text, details.reason if details else response.status) == ("", status)


def test_where_a_schema_is_asked_for_a_block_is_a_refusal(sandbox: Sandbox, openai_client: Any, stream: bool) -> None:
    sandbox.openai.next(faults.blocked(), times=2)
    form = {"name": "n", "schema": {"type": "object"}}
    json_schema = {"type": "json_schema", "json_schema": form}
    reply = openai_client.chat.completions.create(**CHAT, response_format=json_schema, stream=stream)
    if stream:
        said = "".join(event.choices[0].delta.refusal or "" for event in reply)
    else:
        said = reply.choices[0].message.refusal
    reply = openai_client.responses.create(**RESPONSE, text={"format": {"type": "json_schema", **form}}, stream=stream)
    part = (list(reply)[-1].response if stream else reply).output[0].content[0]
    assert (part.type, part.refusal) == ("refusal", said)
    assert said.startswith("I can't help with that.")


@pytest.mark.parametrize(
    "fault",
    [
        *(faults.slow_first_token(0.02), faults.loading(0.02), faults.dribble(0.001), faults.dribble(0, size=7)),
        faults.wrong_content_type(),
    ],
    ids=str,
)
def test_strange_but_whole_replies(sandbox: Sandbox, openai_client: Any, api: str, stream: bool, fault: Fault) -> None:
    sandbox.openai.reply("Grüße ☕ aus dem Sandkasten")
    sandbox.openai.next(fault)
    assert ask(openai_client, api, stream)[::2] == ("", "Grüße ☕ aus dem Sandkasten")


def test_huge(sandbox: Sandbox, openai_client: Any, api: str, stream: bool) -> None:
    sandbox.openai.next(faults.huge(megabytes=1))
    assert len(ask(openai_client, api, stream)[2]) > 1_000_000


def test_refuse(sandbox: Sandbox, openai_client: Any, api: str, stream: bool) -> None:
    sandbox.openai.always(faults.refuse())
    raised, error, _ = ask(openai_client, api, stream)
    assert raised == "APIConnectionError"
    assert isinstance(error.__cause__, httpx2.ConnectError)
    sandbox.openai.heal()
    assert ask(openai_client, api, stream)[0] == ""
    assert sandbox.openai.request_count == 1


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (faults.overloaded(), "InternalServerError"),
        (faults.cut(), "APIConnectionError"),
        (faults.stall(), "APITimeoutError"),
    ],
    ids=named,
)
def test_async_streams(sandbox: Sandbox, fault: Fault, raised: str) -> None:
    async def talk() -> str:
        url = f"{sandbox.openai.url}/v1"
        async with openai.AsyncOpenAI(
            api_key="k", base_url=url, max_retries=0, timeout=BRIEF.get(fault.name, 5)
        ) as client:
            try:
                async with await client.chat.completions.create(**CHAT, stream=True) as events:
                    return "".join([event.object async for event in events])
            except Exception as error:
                return type(error).__name__

    sandbox.openai.always(fault)
    assert asyncio.run(talk()) == raised


def test_every_fault_is_covered_here() -> None:
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    assert [name for name in faults.ALL if f"faults.{name}(" not in text] == []
