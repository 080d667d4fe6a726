"""A refusal that says how it can be mended, over a socket: asked once more at once, right from the start next time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Failure, LLMFactory, Message, Request, Tool, errors
from understudy_claude import ClaudeProvider, refusals
from understudy_claude.failures import (
    OLDER_VERSION,
    WITH_THOUGHTS,
    WITHOUT_FORCING,
    WITHOUT_SAMPLING,
    WITHOUT_SETTINGS,
    WITHOUT_TOP_P,
)
from understudy_toolkit.refused import forget

if TYPE_CHECKING:
    from conftest import Ask, Call, Server

HELLO = Message.user("Hello there")
TOOLS = [Tool(name="weather", description="Tells it.")]
HI = {"type": "text", "text": "Hi"}
Complaint = Callable[[Any], str | None]


def _answering(server: Server, complaint: Complaint, status: int = 400) -> None:
    """Have the server complain of what it does not take, and answer the rest."""
    said = server.message(HI)

    def answer(asked: Any) -> Any:
        words = complaint({**asked, "version": server.received[-1]["version"]})
        if words is None:
            return server.streamed(*server.events_of(said)) if asked.get("stream") else said
        return status, {"type": "error", "error": {"type": "invalid_request_error", "message": words}}

    server.answer = answer


def _limit(most: int) -> Complaint:
    words = "max_tokens: {} > {}, which is the maximum allowed number of output tokens for our-own-model"
    return lambda asked: words.format(asked["max_tokens"], most) if asked["max_tokens"] > most else None


def _window(asked: Any) -> str | None:
    words = "input length and `max_tokens` exceed context limit: 190000 + {} > 200000, decrease input length"
    return words.format(asked["max_tokens"]) if asked["max_tokens"] > 10_000 else None


def _when(words: str, *path: str) -> Complaint:
    """Complain with these words while a field is there."""

    def complaint(asked: Any) -> str | None:
        found = asked
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return words if found is not None else None

    return complaint


def _both(asked: Any) -> str | None:
    both = "temperature" in asked and "top_p" in asked
    return "`temperature` and `top_p` cannot both be specified for this model. Please use only one." if both else None


def _thoughts(asked: Any) -> str | None:
    kinds = [turn["content"][0]["type"] for turn in asked["messages"] if turn["role"] == "assistant"]
    missing = any(kind != "thinking" for kind in kinds)
    return "The `content[].thinking` in the thinking mode must be passed back to the API." if missing else None


def _forced(asked: Any) -> str | None:
    forced = asked.get("tool_choice", {}).get("type") in ("any", "tool")
    return 'tool_choice: type "tool" and "any" are not supported for this model.' if forced else None


def _version(asked: Any) -> str | None:
    return None if asked["version"] == "2023-06-01" else 'anthropic-version: "x" is not a valid version'


@pytest.mark.parametrize(
    ("complaint", "asked", "helps", "setting"),
    [
        (_limit(64_000), {"max_tokens": 70_000}, "within the model's limit of 64000 tokens", "max_tokens"),
        (_both, {"temperature": 0.5, "options": {"claude": {"top_p": 0.5}}}, WITHOUT_TOP_P, "top_p"),
        (
            _when("temperature: Extra inputs are not permitted", "temperature"),
            {"temperature": 0.5},
            WITHOUT_SAMPLING,
            "temperature",
        ),
        (
            _when("This model does not support the effort parameter.", "output_config", "effort"),
            {"options": {"claude": {"effort": "low"}}},
            WITHOUT_SETTINGS,
            "thinking",
        ),
        (
            _when("adaptive thinking is not supported on this model", "thinking"),
            {"options": {"claude": {"thinking": {"type": "adaptive"}}}},
            WITHOUT_SETTINGS,
            "thinking",
        ),
        (
            _when("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024", "thinking"),
            {"options": {"claude": {"thinking": {"type": "enabled", "budget_tokens": 5}}}},
            WITHOUT_SETTINGS,
            "thinking",
        ),
        (_forced, {"tools": TOOLS, "tool_choice": "required"}, WITHOUT_FORCING, "tool_choice"),
        (_thoughts, {"prompt": [HELLO, Message.assistant("Hi"), HELLO]}, WITH_THOUGHTS, None),
        (_version, {}, OLDER_VERSION, None),
    ],
)
def test_it_is_asked_once_more_at_once_and_right_from_then_on(
    call: Call, server: Server, complaint: Complaint, asked: dict[str, Any], helps: str, setting: str | None
) -> None:
    _answering(server, complaint)
    arguments = {"prompt": [HELLO], "temperature": None, **asked}
    with LLMFactory("claude", [], settings=server.environment, extensions=[]) as factory:
        first = call(factory, **arguments)
    assert [attempt.reason for attempt in first.attempts] == ["primary", f"once more, {helps}"]
    with LLMFactory("claude", [], settings=server.environment, extensions=[]) as factory:
        second = call(factory, **arguments)
    assert len(second.attempts) == 1
    for response in (first, second):
        assert (response.success, response.content) == (True, "Hi")
        assert [warning.setting for warning in response.warnings] == ([setting] if setting else [])


def test_what_one_model_at_one_address_refuses_says_nothing_of_others(own: ClaudeProvider, server: Server) -> None:
    _answering(server, _when("`temperature` is deprecated for this model.", "temperature"))
    asked = Request(messages=(HELLO,), temperature=0.5)
    with pytest.raises(errors.UnsupportedRequest):
        own.generate(asked)
    assert own.generate(asked).content == "Hi"
    with pytest.raises(errors.UnsupportedRequest):
        own.generate(replace(asked, model="another-model"))
    assert not refusals.known("https://elsewhere.example", "our-own-model", asked).facts


def test_a_setting_that_was_refused_says_nothing_of_another_value(own: ClaudeProvider, server: Server) -> None:
    _answering(
        server, lambda asked: "adaptive thinking is not supported on this model" if "thinking" in asked else None
    )
    adaptive = Request(messages=(HELLO,), options={"claude": {"thinking": {"type": "adaptive"}}})
    with pytest.raises(errors.UnsupportedRequest):
        own.generate(adaptive)
    _answering(server, lambda asked: None)
    own.generate(replace(adaptive, options={"claude": {"thinking": {"type": "enabled", "budget_tokens": 2048}}}))
    assert server.received[-1]["thinking"]["type"] == "enabled"


def test_what_the_window_leaves_is_asked_for_and_not_remembered(ask: Ask, own: ClaudeProvider, server: Server) -> None:
    _answering(server, _window)
    asked = Request(messages=(HELLO,), max_tokens=32_000)
    for _ in range(2):  # another prompt leaves another room
        with pytest.raises(errors.ContextTooLong) as caught:
            ask(own, asked)
    response = ask(own, replace(asked, adaptation=caught.value.adaptation))
    assert server.received[-1]["max_tokens"] == 10_000
    assert [str(one) for one in response.warnings] == [
        "max_tokens 32,000 became 10,000: our-own-model writes no more, or its window has no more room"
    ]


def test_a_budget_stays_below_the_limit(own: ClaudeProvider, server: Server) -> None:
    for most, budget in ((8000, 4000), (1500, None)):
        forget()
        _answering(server, _limit(most))
        options = {"claude": {"thinking": {"type": "enabled", "budget_tokens": 9000}}}
        asked = Request(messages=(HELLO,), max_tokens=1000, options=options)
        with pytest.raises(errors.UnsupportedRequest):
            own.generate(asked)
        own.generate(asked)
        sent = server.received[-1]
        assert (sent["max_tokens"], sent.get("thinking", {}).get("budget_tokens")) == (most, budget)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Output blocked by content filtering policy", errors.ContentBlocked),
        ("Your credit balance is too low to access the Anthropic API.", errors.QuotaExhausted),
        ("This organization has been disabled.", errors.PermissionDenied),
        ("prompt is too long: 208310 tokens > 200000 maximum", errors.ContextTooLong),
        ("messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6 > 5", errors.UnsupportedRequest),
        ("something of tomorrow", errors.RequestRefused),
    ],
)
@pytest.mark.parametrize("place", ["status 400", "status 500", "status 200", "after a piece"])
def test_a_refusal_is_the_same_wherever_it_stands(
    ask: Ask, own: ClaudeProvider, server: Server, words: str, kind: type[Failure], place: str
) -> None:
    type_ = "api_error" if place == "status 500" else "invalid_request_error"
    error = {"type": "error", "error": {"type": type_, "message": words}}
    begun = server.events_of(server.message(HI))[:2]

    def answer(asked: Any) -> Any:
        if place.startswith("status"):
            return int(place.partition(" ")[2]), error
        return server.streamed(*begun, error, "data: [DONE]\n\n") if asked.get("stream") else error

    server.answer = answer
    with pytest.raises(Failure) as caught:
        ask(own, Request(messages=(HELLO,)))
    expected = errors.ServerError if (kind, place) == (errors.RequestRefused, "status 500") else kind
    assert type(caught.value) is expected
    assert words in str(caught.value)
