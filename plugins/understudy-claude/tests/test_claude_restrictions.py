"""What a model refuses is not sent to it: tools that must be called, and settings of thinking."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from understudy import LLMFactory, Message, Request, Tool, ToolCall, ToolResult
from understudy_claude import ClaudeProvider
from understudy_claude.failures import WITHOUT_FORCING, WITHOUT_SETTINGS
from understudy_claude.wire import request_body
from understudy_sandbox import faults

if TYPE_CHECKING:
    from conftest import Ask, Call

    from understudy_sandbox import Sandbox

HELLO = Message.user("Hello there")
WEATHER = Tool(name="weather", description="Tells it.")
TIME = Tool(name="time", description="Tells it.")
MODELS = (
    *("claude-haiku-4-5", "claude-haiku-5-5", "claude-sonnet-4-5", "claude-sonnet-4-6", "claude-sonnet-5"),
    *("claude-sonnet-5-5", "claude-opus-4-1", "claude-opus-4-5", "claude-opus-4-6", "claude-opus-4-8", "claude-opus-5"),
    *("claude-opus-5-5", "claude-fable-5", "claude-fable-5-1", "claude-mythos-preview", "claude-mythos-5-2"),
    *("claude-opus-6", "our-own-model"),
)
SETTINGS: tuple[dict[str, Any] | None, ...] = (
    None,
    {"type": "adaptive"},
    {"type": "disabled"},
    {"type": "between_tools"},
    {"type": "enabled", "budget_tokens": 2048},
)
EFFORTS = (None, "low", "high", "xhigh", "max")


def _body(model: str, **claude: Any) -> tuple[dict[str, Any], list[str]]:
    """Return a body, and the settings that warnings speak of."""
    body, asked = request_body(Request(messages=(HELLO,), options={"claude": claude}), model)
    return body, [warning.setting for warning in asked.warnings if warning.setting != "model"]


# ---- tools that must be called ----


@pytest.mark.parametrize("choice", ["required", "weather"])
@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-1", "claude-mythos-5-2"])
def test_a_model_without_forced_tools_is_left_to_choose(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider, model: str, choice: str
) -> None:
    response = ask(provider, Request(messages=(HELLO,), tools=(WEATHER, TIME), tool_choice=choice, model=model))
    [received] = sandbox.claude.requests
    assert received.json["tool_choice"] == {"type": "auto"}
    names = [tool["name"] for tool in received.json["tools"]]
    assert names == (["weather", "time"] if choice == "required" else ["weather"])
    [warning] = response.warnings
    assert warning.setting == "tool_choice"
    assert str(warning).startswith(f"{model} takes no tool that must be called: the answer may come without a call")
    assert ("of all tools only weather was sent" in str(warning)) is (choice == "weather")


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-haiku-4-5", "claude-sonnet-5", "claude-opus-5"])
def test_other_models_are_told_what_to_call(ask: Ask, sandbox: Sandbox, provider: ClaudeProvider, model: str) -> None:
    for choice, sent in (("required", {"type": "any"}), ("time", {"type": "tool", "name": "time"})):
        asked = Request(messages=(HELLO,), tools=(WEATHER, TIME), tool_choice=choice, model=model)
        response = ask(provider, asked)
        assert (len(response.tool_calls), response.warnings) == (1, ())
        assert sandbox.claude.requests[-1].json["tool_choice"] == sent


def test_a_budget_for_thinking_goes_with_no_forced_tool(ask: Ask, sandbox: Sandbox, provider: ClaudeProvider) -> None:
    options = {"claude": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
    asked = Request(
        messages=(HELLO,), tools=(WEATHER,), tool_choice="required", model="claude-haiku-4-5", options=options
    )
    [warning] = ask(provider, asked).warnings
    assert str(warning).startswith("Claude, while it thinks within a budget, takes no tool that must be called")
    assert sandbox.claude.requests[0].json["tool_choice"] == {"type": "auto"}


def test_a_forced_tool_that_is_refused_all_the_same_is_left_to_the_model_at_once(call: Call, sandbox: Sandbox) -> None:
    words = "tool_choice forces tool use is not compatible with this model"
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    sandbox.claude.next(faults.status(400, error))
    with LLMFactory("claude:claude-fable-5", [], settings=sandbox.environment(), extensions=[]) as factory:
        response = call(factory, "Hello there", tools=[WEATHER], tool_choice="required", temperature=None)
    assert response.success
    assert response.attempts[-1].reason == f"once more, {WITHOUT_FORCING}"
    assert [one.json["tool_choice"]["type"] for one in sandbox.claude.requests] == ["any", "auto"]
    assert [warning.setting for warning in response.warnings] == ["tool_choice"]


# ---- settings of thinking ----


@pytest.mark.parametrize("model", MODELS)
def test_no_setting_of_thinking_meets_a_refusal(sandbox: Sandbox, provider: ClaudeProvider, model: str) -> None:
    for thinking, effort in product(SETTINGS, EFFORTS):
        claude = {"thinking": thinking, "effort": effort}
        options = {"claude": {name: value for name, value in claude.items() if value is not None}}
        asked = Request(messages=(HELLO,), model=model, max_tokens=2000, temperature=0.3, options=options)
        assert provider.generate(asked).success, (thinking, effort, sandbox.claude.requests[-1].json)


@pytest.mark.parametrize(
    ("model", "asked", "sent", "effort", "warned"),
    [
        ("claude-haiku-5-5", SETTINGS[4], {"type": "adaptive"}, None, ["thinking"]),
        ("claude-sonnet-4-6", SETTINGS[4], SETTINGS[4], None, []),
        ("claude-haiku-4-5", SETTINGS[1], {"type": "enabled", "budget_tokens": 4096}, None, ["thinking"]),
        ("claude-sonnet-5-5", SETTINGS[2], {"type": "between_tools"}, None, []),
        ("claude-haiku-5-5", SETTINGS[3], {"type": "disabled"}, None, []),
        ("claude-opus-4-8", SETTINGS[3], {"type": "disabled"}, None, []),
        ("claude-opus-5-5", SETTINGS[2], None, "low", ["thinking"]),
        ("claude-fable-5", SETTINGS[3], None, "low", ["thinking"]),
        ("claude-instant-1.2", SETTINGS[1], None, None, ["thinking"]),
        ("claude-instant-1.2", SETTINGS[2], None, None, []),
        ("claude-opus-5-5", {"type": "of_tomorrow"}, {"type": "of_tomorrow"}, None, []),
        ("our-own-model", SETTINGS[2], SETTINGS[2], None, []),
    ],
)
def test_thinking_becomes_the_nearest_that_the_model_takes(
    model: str, asked: Any, sent: Any, effort: str | None, warned: list[str]
) -> None:
    body, settings = _body(model, thinking=asked)
    assert (body.get("thinking"), body.get("output_config", {}).get("effort"), settings) == (sent, effort, warned)


def test_what_else_stands_beside_a_budget_is_kept() -> None:
    body, _ = _body("claude-sonnet-5-5", thinking={"type": "enabled", "budget_tokens": 4000, "display": "summarized"})
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "thinking", "asked", "sent", "warned"),
    [
        ("claude-haiku-4-5", None, "high", None, ["effort"]),
        ("claude-opus-4-5", None, "max", "high", ["effort"]),
        ("claude-sonnet-4-6", None, "xhigh", "high", ["effort"]),
        ("claude-opus-4-7", None, "xhigh", "xhigh", []),
        ("claude-haiku-5-5", SETTINGS[2], "max", "high", ["effort"]),
        ("claude-sonnet-5-5", SETTINGS[2], "xhigh", "high", ["effort"]),
        ("claude-sonnet-5", SETTINGS[2], "max", "max", []),
        ("claude-haiku-5-5", None, "of_tomorrow", "of_tomorrow", []),
    ],
)
def test_effort_becomes_the_highest_that_goes_with_the_rest(
    model: str, thinking: Any, asked: str, sent: str | None, warned: list[str]
) -> None:
    for claude in ({"effort": asked}, {"output_config": {"effort": asked}}):
        body, settings = _body(model, **claude, **({"thinking": thinking} if thinking else {}))
        assert (body.get("output_config", {}).get("effort"), settings) == (sent, warned)


def test_settings_of_thinking_that_are_refused_all_the_same_are_left_out_at_once(call: Call, sandbox: Sandbox) -> None:
    error = {"type": "invalid_request_error", "message": "This model does not support the effort parameter."}
    sandbox.claude.next(faults.status(400, {"type": "error", "error": error}))
    options = {"claude": {"effort": "low", "thinking": {"type": "adaptive"}}}
    with LLMFactory("claude:our-own-model", [], settings=sandbox.environment(), extensions=[]) as factory:
        response = call(factory, "Hello there", options=options, temperature=None)
    assert response.attempts[-1].reason == f"once more, {WITHOUT_SETTINGS}"
    first, second = (one.json for one in sandbox.claude.requests)
    assert (first["output_config"], first["thinking"]) == ({"effort": "low"}, {"type": "adaptive"})
    assert not {"output_config", "thinking"} & second.keys()
    assert [warning.setting for warning in response.warnings] == ["thinking"]


def test_a_budget_is_left_out_where_a_turn_of_tools_was_begun_by_others(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    called = Message.assistant(ToolCall(id="call_1", name="weather"))
    answered = Message.tool(ToolResult(call_id="call_1", content="mild"))
    asked = Request(
        messages=(HELLO, called, answered),
        tools=(WEATHER,),
        model="claude-haiku-4-5",
        options={"claude": {"thinking": {"type": "enabled", "budget_tokens": 1024}}},
    )
    [warning] = ask(provider, asked).warnings
    assert str(warning) == "thinking within a budget was left out: the turn that it continues began without it"
    assert "thinking" not in sandbox.claude.requests[0].json
