"""Which models answer whom, how much room their thinking gets, and what is said where Google only refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from understudy import (
    Failure,
    FinishReason,
    LLMFactory,
    LLMResponse,
    Message,
    Request,
    Settings,
    ToolCall,
    ToolResult,
)
from understudy.errors import (
    AnswerCutShort,
    AuthenticationFailed,
    EmptyResponse,
    MalformedResponse,
    ModelNotFound,
    ProviderUnavailable,
    Timeout,
    UnsupportedRequest,
)
from understudy_gemini_legacy import GeminiLegacyProvider, models, understudy_provider
from understudy_gemini_legacy.models import Room, room_for
from understudy_gemini_legacy.wire import request_body
from understudy_gemini_wire import models as shared
from understudy_sandbox import Sandbox, faults
from understudy_toolkit.thinking import MORE_ROOM

Ask = Callable[[GeminiLegacyProvider, Request], LLMResponse]
BEFORE, AFTER = date(2026, 11, 30), date(2026, 12, 1)
HELLO = Message.user("hello")
NAME = "gemini-legacy"


def room_of(model: str, max_tokens: int | None = 1024, own: dict[str, Any] | None = None, **fields: Any) -> Room:
    return room_for(Request(messages=(HELLO,), max_tokens=max_tokens, **fields), model, own or {}, BEFORE)


@pytest.mark.parametrize(
    ("model", "room"),
    [
        ("gemini-2.5-flash-lite", Room()),
        ("gemini-2.0-flash", Room()),
        ("gemini-2.5-flash-image", Room()),
        ("a-model-of-mine", Room()),
        ("gemini-3.5-flash-lite", Room("minimal", 1024, MORE_ROOM)),
        ("models/gemini-flash-lite-latest", Room("minimal", 1024, MORE_ROOM)),
        ("gemini-3.8-flash", Room("medium", 16_384, MORE_ROOM)),
        ("gemini-flash-latest", Room("medium", 16_384, MORE_ROOM)),
        ("gemini-2.5-flash", Room("medium", 16_384, MORE_ROOM)),
        ("gemini-2.5-pro", Room("high", 32_768, MORE_ROOM)),
        ("gemini-9-new", Room("high", 31_744, None)),  # as much as the newest are known to take
    ],
)
def test_each_model_gets_room_for_the_thinking_that_it_does(model: str, room: Room) -> None:
    assert room_of(model) == room


def test_the_room_follows_the_limits_of_the_caller_and_of_the_model() -> None:
    assert room_of("gemini-3.8-flash", None) == Room("medium")
    assert room_of("gemini-3.8-flash", own={"maxOutputTokens": 700}) == Room("medium")
    assert room_of("gemini-3.8-flash", 65_000) == Room("medium", 536, None)
    assert room_of("gemini-3.5-flash-lite", adaptation=MORE_ROOM) == Room("minimal", 4096, None)


def body_of(model: str, today: date, *messages: Message) -> Any:
    request = Request(messages=messages or (HELLO,), temperature=0.0, max_tokens=1024)
    return request_body(request, model, NAME, today)


@pytest.mark.parametrize(
    ("model", "before", "after"), [("gemini-2.5-flash", 17_408, 2048), ("gemini-2.5-pro", 33_792, 17_408)]
)
def test_a_routed_name_follows_the_rules_of_who_answers_from_the_day_on(model: str, before: int, after: int) -> None:
    body, (ends,) = body_of(model, BEFORE)
    assert body["generationConfig"] == {"maxOutputTokens": before, "temperature": 0.0}
    assert "from 2026-12-01 on" in str(ends)
    body, (ended, temperature) = body_of(model, AFTER)
    assert body["generationConfig"] == {"maxOutputTokens": after}
    assert "since 2026-12-01" in str(ended)
    assert temperature.setting == "temperature"
    begun = (HELLO, Message.assistant("Well,"))
    answered = (
        HELLO,
        Message.assistant(ToolCall(id="1", name="f")),
        Message.tool(ToolResult(call_id="1", content="x")),
    )
    for messages, words in ((begun, "does not continue"), (answered, "wants its tool calls back")):
        assert body_of(model, BEFORE, *messages)
        with pytest.raises(UnsupportedRequest, match=words):
            body_of(model, AFTER, *messages)


@pytest.mark.parametrize("today", [BEFORE, AFTER])
def test_the_default_is_routed_nowhere(today: date) -> None:
    body, warnings = body_of(models.DEFAULT_MODEL, today)
    assert body["generationConfig"] == {"maxOutputTokens": 1024, "temperature": 0.0}
    assert warnings == ()


def test_the_provider_goes_by_the_day(sandbox: Sandbox) -> None:
    settings = Settings({"GEMINI_LEGACY_MODEL": "gemini-2.5-flash"}, environment=sandbox.environment())
    request = Request(messages=(HELLO,), max_tokens=1024)
    for today, room in ((BEFORE, 16_384), (AFTER, 1024)):
        provider = GeminiLegacyProvider(settings, today=lambda today=today: today)  # type: ignore[misc]  # a default
        assert provider.thinking_room(request) == room
        assert provider.pace(request).thinks is provider.capabilities.prefill is (today == BEFORE)
        assert "gemini-3.5-flash-lite" in str(provider.model_notice("gemini-2.5-flash"))
        provider.close()


# ---- on the wire -----------------------------------------------------------------------------------------------------


def test_an_answer_that_would_starve_comes_where_thinking_has_room(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask
) -> None:
    request = Request(messages=(HELLO,), model="gemini-3.8-flash", max_tokens=1024)
    response = ask(provider, request)
    assert (response.finish_reason, response.content[-7:]) == (FinishReason.STOP, '"hello"')
    assert response.usage is not None
    assert response.usage.thinking_tokens > 1024
    assert sandbox.gemini.requests[-1].json["generationConfig"]["maxOutputTokens"] == 1024 + 16_384
    own = {"gemini-legacy": {"maxOutputTokens": 1024}}
    with pytest.raises(EmptyResponse, match="used up before it, by 1024 tokens of thinking") as caught:
        ask(provider, Request(messages=(HELLO,), model="gemini-3.8-flash", max_tokens=1024, options=own))
    assert caught.value.adaptation is None


def starved(*parts: dict[str, Any], written: int, thought: int) -> dict[str, Any]:
    usage = {"promptTokenCount": 3, "candidatesTokenCount": written, "thoughtsTokenCount": thought}
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": "MAX_TOKENS"}], "usageMetadata": usage}


EMPTY = starved(written=0, thought=2048)
CUT = starved({"text": "to be"}, written=2, thought=2046)


@pytest.fixture
def factory(sandbox: Sandbox) -> Iterator[LLMFactory]:
    settings = {**sandbox.environment(), "GEMINI_LEGACY_MODEL": "gemini-3.5-flash-lite"}
    with LLMFactory("gemini-legacy", ["echo"], settings=settings, extensions=[]) as made:
        yield made


@pytest.mark.parametrize("reply", [EMPTY, CUT], ids=["empty", "cut"])
def test_it_is_asked_once_more_at_once_with_more_room(
    sandbox: Sandbox, factory: LLMFactory, reply: dict[str, Any]
) -> None:
    sandbox.gemini.reply(reply)
    response = factory.generate_content("hello")
    first, second = response.attempts
    assert isinstance(first.failure, EmptyResponse | AnswerCutShort)
    assert (response.provider_name, second.reason) == ("gemini-legacy", f"once more, {MORE_ROOM}")
    limits = [request.json["generationConfig"]["maxOutputTokens"] for request in sandbox.gemini.requests]
    assert limits == [1024 + 1024, 1024 + 4096]


def test_a_stream_whose_text_the_caller_holds_ends_with_a_warning(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask_stream: Ask
) -> None:
    sandbox.gemini.reply(CUT)
    response = ask_stream(provider, Request(messages=(HELLO,), max_tokens=1024, model="gemini-3.5-flash-lite"))
    assert response.content == "to be"
    assert "thinking used up the limit" in str(response.warnings[-1])


@pytest.mark.parametrize("model", ["gemini-2.5-flash-lite", "gemini-2.5-pro"])
def test_a_project_that_is_too_new_for_a_model_is_told_what_to_set(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask, model: str
) -> None:
    message = f"This model models/{model} is no longer available to new users. Please update your code."
    sandbox.gemini.next(faults.status(404, {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}))
    with pytest.raises(ModelNotFound, match=message) as caught:
        ask(provider, Request(messages=(HELLO,), model=model))
    for words in ("older projects only", "GEMINI_LEGACY_MODEL=gemini-3.5-flash-lite", "takes no results of tools"):
        assert words in caught.value.message
    sandbox.gemini.next(faults.model_not_found())
    with pytest.raises(ModelNotFound) as caught:
        ask(provider, Request(messages=(HELLO,), model=model))
    assert "GEMINI_LEGACY_MODEL" not in caught.value.message


def test_keys_that_are_refused_are_told_apart(
    sandbox: Sandbox, connect: Callable[..., GeminiLegacyProvider], ask: Ask
) -> None:
    request = Request(messages=(HELLO,))
    old = connect(sandbox.gemini.url, GOOGLE_API_KEY="AIza" + "Sy0123456789" * 3)
    with pytest.raises(AuthenticationFailed, match="begin with AIza: make a new key in AI Studio") as caught:
        ask(old, request)
    assert caught.value.code == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    assert "Sy0123456789" not in repr(vars(caught.value))
    sandbox.gemini.next(faults.authentication_failed())
    with pytest.raises(AuthenticationFailed, match=r"API key not valid.*make a new key in AI Studio"):
        ask(old, request)
    new = connect(sandbox.gemini.url, GOOGLE_API_KEY="AQ." + "Ab0123456789" * 4)
    assert ask(new, request).success
    sandbox.gemini.next(faults.authentication_failed())
    with pytest.raises(AuthenticationFailed) as caught:
        ask(new, request)
    assert "AI Studio" not in caught.value.message


def test_the_models_that_can_be_asked_are_listed(provider: GeminiLegacyProvider, sandbox: Sandbox) -> None:
    assert {"gemini-2.5-flash-lite", "gemini-3.5-flash-lite"} <= set(provider.list_models())
    (request,) = sandbox.gemini.requests
    assert (request.method, request.path, request.query) == ("GET", "/v1beta/models", {"pageSize": "1000"})
    assert request.headers["x-goog-api-key"] == "key-0123456789"
    embedding = {"name": "models/gemini-embedding-2", "supportedGenerationMethods": ["embedContent"]}
    sandbox.gemini.next(faults.status(200, {"models": [embedding, {"name": "models/gemini-9-new"}]}))
    assert provider.list_models() == ("gemini-9-new",)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (faults.black_hole(), Timeout),
        (faults.authentication_failed(), AuthenticationFailed),
        (faults.status(200, {"models": [{}]}), MalformedResponse),
        (faults.status(200, "[]"), MalformedResponse),
        (faults.html_page(), MalformedResponse),
    ],
    ids=lambda value: str(getattr(value, "name", "")),
)
def test_a_list_that_does_not_come_is_a_failure_of_the_providers(
    provider: GeminiLegacyProvider, sandbox: Sandbox, fault: Any, failure: type[Failure]
) -> None:
    provider.warm_up()
    sandbox.gemini.next(fault)
    with pytest.raises(failure) as caught:
        provider.list_models(0.3)
    assert (type(caught.value), caught.value.provider) == (failure, "gemini-legacy")


def test_no_list_is_asked_for_without_a_key() -> None:
    with pytest.raises(ProviderUnavailable, match="GOOGLE_API_KEY is not set"):
        understudy_provider(Settings(environment={})).list_models()


def test_the_rows_for_the_documentation_are_made_from_the_tables() -> None:
    rows = models.rules()
    assert all(all(row) for row in rows)
    assert all(date.fromisoformat(row.read) <= BEFORE for row in rows)
    about = {row.about for row in rows}
    assert {"default model", "price", "first answer", "ending", "sampling", "prefill", "room to think"} <= about
    (default,) = [row for row in rows if row.about == "default model"]
    assert default.models == models.DEFAULT_MODEL
    assert f"GEMINI_LEGACY_MODEL={models.NEWER_MODEL}" in default.rule


@pytest.mark.parametrize("where", [shared._ROUTED, shared._ENDINGS, shared._ENDINGS_EXACT])
def test_no_ending_names_a_successor_that_has_ended(where: dict[str, tuple[date, str]]) -> None:
    assert [model for _, model in where.values() if shared.ending_warnings(model, BEFORE)] == []


def test_each_field_of_the_default_call_has_its_reason(sandbox: Sandbox) -> None:
    with LLMFactory("gemini-legacy", [], settings=sandbox.environment(), extensions=[]) as factory:
        assert factory.generate_content("Hello").success
    (request,) = sandbox.gemini.requests
    assert request.json.keys() == {"contents", "generationConfig"}  # the model is in the path
    sent = {f"generationConfig.{name}" for name in request.json["generationConfig"]}
    assert sent == {name for name in models.WHY_SENT if not name.startswith("not sent: ")}
