"""Who answers for whom, by the day; what is told of it; and the tables as rows for the documentation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from understudy import LLMFactory, LLMResponse, Message, Request, Settings, ToolCall
from understudy.errors import Timeout, UnsupportedRequest
from understudy_gemini import Connection, GeminiProvider, models
from understudy_gemini.connection import LEAST_SERVER_TIMEOUT
from understudy_gemini.wire import request_body
from understudy_gemini_wire import models as shared
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiProvider, Request], LLMResponse]
BEFORE, AFTER = date(2026, 11, 30), date(2026, 12, 1)
HELLO = Message.user("hello")


def body_of(model: str, today: date, *messages: Message, provider: str = "gemini", **fields: Any) -> Any:
    request = Request(messages=messages or (HELLO,), temperature=0.0, max_tokens=1024, **fields)
    return request_body(request, model, provider, today)


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("gemini-2.5-flash", {"maxOutputTokens": 2048}),
        ("models/gemini-2.5-pro", {"maxOutputTokens": 5120, "thinkingConfig": {"thinkingLevel": "LOW"}}),
    ],
)
def test_a_routed_name_follows_the_rules_of_who_answers_from_the_day_on(model: str, config: dict[str, Any]) -> None:
    before, told_before = body_of(model, BEFORE)
    after, told_after = body_of(model, AFTER)
    budget = {"thinkingConfig": {"thinkingBudget": 1024}}
    assert before["generationConfig"] == {"maxOutputTokens": 5120, "temperature": 0.0, **budget}
    assert after["generationConfig"] == config
    assert [warning.setting for warning in told_before] == ["model"]
    assert [warning.setting for warning in told_after] == ["model", "temperature"]
    assert "from 2026-12-01 on" in str(told_before[0])
    assert "since 2026-12-01" in str(told_after[0])


@pytest.mark.parametrize(
    ("model", "answers"), [("gemini-2.5-flash", "gemini-3.5-flash-lite"), ("gemini-2.5-pro", "gemini-3.8-flash")]
)
def test_begun_answers_and_calls_of_a_routed_name(model: str, answers: str) -> None:
    begun = (HELLO, Message.assistant("Well,"))
    assert body_of(model, BEFORE, *begun)[0]["contents"][-1]["role"] == "model"
    with pytest.raises(UnsupportedRequest, match=f"{model} does not continue"):
        body_of(model, AFTER, *begun)
    called = (HELLO, Message.assistant(ToolCall(id="1", name="f")), HELLO)
    assert "thoughtSignature" not in body_of(model, BEFORE, *called)[0]["contents"][1]["parts"][0]
    assert "thoughtSignature" in body_of(model, AFTER, *called)[0]["contents"][1]["parts"][0]
    assert models.answering_model(model, AFTER, "gemini") == answers


@pytest.mark.parametrize("today", [BEFORE, AFTER])
@pytest.mark.parametrize("model", ["gemini-2.5-flash-lite", "gemini-2.5-flash-image", "gemini-2.5-flash-preview-tts"])
def test_other_names_that_begin_like_it_are_not_routed(model: str, today: date) -> None:
    assert models.answering_model(model, today, "gemini") == model
    assert models.ending_warnings(model, today, "gemini") == ()


@pytest.mark.parametrize("today", [BEFORE, AFTER])
def test_vertex_routes_nothing_and_has_endings_of_its_own(today: date) -> None:
    body, (warning,) = body_of("gemini-2.5-pro", today, provider="vertex")
    assert body["generationConfig"]["temperature"] == 0.0
    assert str(warning) == "gemini-2.5-pro retires on 2026-10-20, or has retired: ask gemini-3.8-flash instead"
    assert str(models.ending_warnings("gemini-2.5-flash-lite", today, "vertex")[0]).startswith("gemini-2.5-flash-lite")


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gemini-2.0-flash-lite-001", "2026-06-01"),
        ("gemini-3.1-flash-lite", "2027-05-07"),
        ("gemini-3.1-flash-lite-preview", "2026-05-25"),
    ],
)
def test_an_ending_names_the_day_and_the_successor(model: str, day: str) -> None:
    (warning,) = models.ending_warnings(model, BEFORE, "gemini")
    assert str(warning) == f"{model} retires on {day}, or has retired: ask gemini-3.5-flash-lite instead"


@pytest.fixture
def on_day(sandbox: Sandbox) -> Callable[[date], GeminiProvider]:
    def make(today: date) -> GeminiProvider:
        return GeminiProvider(
            Connection.to_gemini(Settings(environment={**sandbox.environment(), "GEMINI_MODEL": "gemini-2.5-pro"})),
            today=lambda: today,
        )

    return make


def test_the_provider_goes_by_the_day(sandbox: Sandbox, on_day: Callable[[date], GeminiProvider], ask: Ask) -> None:
    request = Request(messages=(HELLO,), max_tokens=1024)
    for today, thinking in ((BEFORE, {"thinkingBudget": 1024}), (AFTER, None)):
        provider = on_day(today)
        assert provider.capabilities.prefill is provider.takes_prefill("gemini-2.5-pro") is (today == BEFORE)
        assert "gemini-3.8-flash" in str(provider.model_notice("gemini-2.5-pro"))
        if thinking is not None:
            assert ask(provider, request).success
            assert sandbox.gemini.requests[-1].json["generationConfig"]["thinkingConfig"] == thinking
        else:  # the stand-in knows no days: to it the old model is given a level, which that refuses
            with pytest.raises(Exception, match="Thinking level is not supported"):
                ask(provider, request)
            assert sandbox.gemini.requests[-1].json["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW"}
        provider.close()


def test_the_models_that_can_be_asked_are_listed(provider: GeminiProvider, sandbox: Sandbox) -> None:
    assert {"gemini-3.5-flash-lite", "gemini-3.8-flash"} <= set(provider.list_models())
    (request,) = sandbox.gemini.requests
    assert (request.method, request.path, request.query) == ("GET", "/v1beta/models", {"pageSize": "1000"})
    assert request.headers["x-goog-api-key"] == "key-0123456789"
    embedding = {"name": "models/gemini-embedding-2", "supportedGenerationMethods": ["embedContent"]}
    other = {"name": "models/gemini-9-new", "supportedGenerationMethods": ["generateContent"], "newMember": 1}
    sandbox.gemini.next(faults.status(200, {"models": [embedding, other]}))
    assert provider.list_models() == ("gemini-9-new",)


def test_a_list_that_does_not_come_is_a_failure_of_the_providers(provider: GeminiProvider, sandbox: Sandbox) -> None:
    provider.list_models()
    sandbox.gemini.next(faults.black_hole())
    with pytest.raises(Timeout) as caught:
        provider.list_models(0.3)
    assert caught.value.provider == "gemini"
    sandbox.gemini.next(faults.authentication_failed())
    with pytest.raises(Exception, match="API key not valid"):
        provider.list_models()


def test_the_rows_for_the_documentation_are_made_from_the_tables() -> None:
    rows = models.rules()
    assert all(all(row) for row in rows)
    assert all(date.fromisoformat(row.read) <= BEFORE for row in rows)
    about = {row.about for row in rows}
    assert {"default model", "price", "first answer", "ending", "sampling", "prefill", "thinking", "region"} <= about
    endings = {row.models: row.rule for row in rows if row.about == "ending"}
    assert endings["gemini-2.5-pro"] == "answered by gemini-3.8-flash from 2026-12-01 on, with a warning"
    (default,) = [row for row in rows if row.about == "default model"]
    assert default.models == models.DEFAULT_MODEL


@pytest.mark.parametrize("where", [shared._ROUTED, shared._ENDINGS, shared._ENDINGS_EXACT, shared._ENDINGS_ON_VERTEX])
def test_no_ending_names_a_successor_that_has_ended(where: dict[str, tuple[date, str]]) -> None:
    for _, successor in where.values():
        for provider in ("gemini", "vertex"):
            assert models.ending_warnings(successor, BEFORE, provider) == ()


def test_each_field_of_the_default_call_has_its_reason(sandbox: Sandbox, sandbox_environment: dict[str, str]) -> None:
    with LLMFactory("gemini", [], settings=sandbox_environment, extensions=[]) as factory:
        assert factory.generate_content("Hello").success
    (request,) = sandbox.gemini.requests
    assert request.json.keys() == {"contents", "generationConfig"}
    sent = {f"generationConfig.{name}" for name in request.json["generationConfig"]}
    assert {*sent, "header x-server-timeout"} == {name for name in models.WHY_SENT if not name.startswith("not sent: ")}
    for name in models.WHY_SENT:
        assert name.removeprefix("not sent: ") not in sent or not name.startswith("not sent: ")
    assert int(request.headers["x-server-timeout"]) >= LEAST_SERVER_TIMEOUT
