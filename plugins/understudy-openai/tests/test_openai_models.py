"""Which API a model is asked through, what it refuses, and when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import Message, Request, Settings, Tool
from understudy_openai import OpenAIProvider
from understudy_openai.models import DEFAULT_MODEL, Endpoint, choose_api, ending_warnings, reasons
from understudy_openai.reasoning import leave_out_refused

OPENAI, OTHER = Endpoint(is_openai=True), Endpoint("groq")
REQUEST = Request(messages=(Message.user("Hello"),))
WITH_TOOLS = Request(messages=REQUEST.messages, tools=(Tool(name="weather"),))
WITH_STOP = Request(messages=REQUEST.messages, stop=("END",))


@pytest.mark.parametrize(
    ("url", "name", "is_openai", "short_ids"),
    [
        ("https://api.openai.com/v1", None, True, False),
        ("https://eu.api.openai.com/v1", "europe", True, False),
        ("https://api.openai.com.example/v1", None, False, False),
        ("https://notapi.openai.com/v1", None, False, False),
        ("https://blue.openai.azure.com/openai/v1", "azure", False, False),
        ("https://api.mistral.ai/v1", "mistral", False, True),
        ("http://127.0.0.1:8000/v1", None, False, False),
    ],
)
def test_who_is_asked(url: str, name: str | None, is_openai: bool, short_ids: bool) -> None:
    assert Endpoint.at(url, name) == Endpoint(name or "openai", is_openai, short_ids, address=url)


@pytest.mark.parametrize(
    ("model", "api"),
    [
        ("gpt-6-luna", "responses"),
        ("gpt-6.2-astra-law", "responses"),
        ("gpt-5.6-sol", "responses"),
        ("gpt-5.4-nano", "responses"),
        ("gpt-5.2", "chat"),
        ("gpt-5.2-pro", "responses"),
        ("gpt-5-codex", "responses"),
        ("gpt-5-mini-2025-08-07", "chat"),
        ("gpt-4.1", "chat"),
        ("gpt-4o-search-preview", "chat"),
        ("ft:gpt-4.1-mini-2025-04-14:blue::x", "chat"),
        ("gpt-3.5-turbo", "chat"),
        ("o3", "chat"),
        ("o3-pro", "responses"),
        ("o4-mini-deep-research", "responses"),
        ("chatgpt-4o-latest", "chat"),
        ("gpt-audio-mini", "chat"),
        ("gpt-rosalind-research", "responses"),
        ("a-model-of-tomorrow", "responses"),
    ],
)
def test_openais_own_models_are_asked_through_the_api_that_they_need(model: str, api: str) -> None:
    assert choose_api(REQUEST, model, OPENAI, {}) == api
    assert choose_api(REQUEST, model, OTHER, {}) == "chat"
    assert choose_api(REQUEST, model, OPENAI, {"api": "chat"}) == "chat"
    assert choose_api(REQUEST, model, OTHER, {"api": "responses"}) == "responses"


@pytest.mark.parametrize(
    ("model", "options", "api"),
    [
        ("gpt-6-luna", {}, "responses"),
        ("gpt-6-luna", {"effort": "none"}, "chat"),
        ("gpt-6-luna", {"reasoning_effort": "low"}, "responses"),
        ("gpt-6-luna", {"reasoning": {"effort": "none"}}, "chat"),
        ("openai/gpt-6-luna", {}, "chat"),  # a router's own name: it translates
        ("gpt-5-mini", {}, "chat"),
        ("llama-9", {}, "chat"),
    ],
)
def test_elsewhere_only_tools_for_newer_models_need_responses(model: str, options: dict[str, Any], api: str) -> None:
    assert choose_api(WITH_TOOLS, model, OTHER, options) == api
    assert choose_api(REQUEST, model, OTHER, options) == "chat"


def test_elsewhere_a_short_answer_with_tools_needs_no_responses_where_it_is_asked_for_without_reasoning() -> None:
    short = Request(messages=REQUEST.messages, tools=WITH_TOOLS.tools, max_tokens=1024)
    assert choose_api(short, "gpt-6-luna", OTHER, {}) == "chat"
    assert choose_api(short, "gpt-6-luna", OTHER, {"effort": "low"}) == "responses"
    assert choose_api(short, "gpt-6-astra", OTHER, {"effort": "none"}) == "responses"  # which it does not take
    assert choose_api(short, "gpt-6.1-sol", OTHER, {}) == "responses"


def test_stop_texts_choose_no_api() -> None:
    for model in ("gpt-6-luna", "gpt-5.4", "gpt-4.1"):
        assert choose_api(WITH_STOP, model, OPENAI, {}) == choose_api(REQUEST, model, OPENAI, {})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-6-luna", True),
        ("gpt-5", True),
        ("openai/gpt-5-mini", True),
        ("o1", True),
        ("o4-mini-2025-04-16", True),
        ("gpt-5-chat-latest", False),
        ("gpt-4o", False),
        ("gpt-4.1-nano", False),
        ("gpt-35-turbo", False),
        ("gpt-oss-120b", False),
        ("llama-9", False),
        ("qwen-o1", False),
    ],
)
def test_which_models_reason(model: str, expected: bool) -> None:
    assert reasons(model) is expected


@pytest.mark.parametrize(
    ("model", "settings", "kept"),
    [
        ("gpt-6-luna", {}, set()),
        ("gpt-6-luna", {"reasoning_effort": "none"}, {"temperature", "top_p", "logprobs"}),
        ("gpt-6-luna", {"reasoning": {"effort": "none"}}, {"temperature", "top_p", "logprobs"}),
        ("gpt-6-luna", {"reasoning": {"effort": "low"}}, set()),
        ("gpt-6-astra", {"reasoning_effort": "none"}, set()),
        ("gpt-9-vega", {"reasoning_effort": "none"}, {"temperature", "top_p", "logprobs"}),
        ("gpt-5.1", {"reasoning_effort": "none"}, {"temperature", "top_p", "logprobs"}),
        ("gpt-5", {"reasoning_effort": "none"}, set()),
        ("o3", {}, set()),
        ("gpt-4.1", {}, {"temperature", "top_p", "logprobs", "stop"}),
        ("llama-9", {}, {"temperature", "top_p", "logprobs", "stop"}),
    ],
)
def test_what_a_model_refuses_is_left_out_with_a_warning(model: str, settings: dict[str, Any], kept: set[str]) -> None:
    asked = {"temperature": 0.0, "top_p": 0.5, "logprobs": True, "stop": ["END"]}
    body = {**asked, **settings}
    warnings = leave_out_refused(body, model)
    assert set(body) & set(asked) == kept
    assert {warning.setting for warning in warnings} == set(asked) - kept
    assert all(model in str(warning) for warning in warnings)


def test_a_default_loses_nothing_and_needs_no_warning() -> None:
    body = {"temperature": 1.0, "top_p": 1}
    assert leave_out_refused(body, "gpt-6-luna") == ()
    assert body == {}


def test_a_model_that_ends_is_still_asked_with_a_warning_that_names_its_successor() -> None:
    [warning] = ending_warnings("gpt-4", OPENAI)
    assert str(warning) == "gpt-4 retires on 2026-10-23, or has retired: ask gpt-6.1-sol instead"
    [unnamed] = ending_warnings("gpt-audio-mini", OPENAI)
    assert str(unnamed).startswith(
        "gpt-audio-mini retires on 2027-01-20, or has retired: what to ask instead is said on"
    )
    for model in (DEFAULT_MODEL, "gpt-6.1-sol", "gpt-6.1-terra"):
        assert ending_warnings(model, OPENAI) == ()
    assert ending_warnings("gpt-4", OTHER) == ()


def test_a_provider_tells_when_a_model_ends() -> None:
    provider = OpenAIProvider(Settings(environment={"OPENAI_API_KEY": "not-a-real-key"}))
    assert "2027-01-14" in (provider.model_notice("gpt-4o") or "")
    assert provider.model_notice(provider.default_model) is None
