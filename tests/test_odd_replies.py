"""Odd replies are no outages: the same oddity has the same outcome with every plugin, and none is a failure unknown."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from test_bounds import KEY

from understudy import LLMFactory
from understudy.errors import AllProvidersFailed, EmptyResponse, MalformedResponse, Overloaded
from understudy_toolkit.conformance import FaultServer, Reply

HOLE = "@@"  # where a number stands that JSON's writer would not write


def claude(count: Any, text: Any = "fine") -> Any:
    usage = {"input_tokens": count, "output_tokens": 4}
    told = {"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn", "usage": usage}
    return {**told, "content": [{"type": "text", "text": text}]}


def cohere(count: Any, text: Any = "fine") -> Any:
    usage = {"tokens": {"input_tokens": count, "output_tokens": 4}}
    message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    return {"id": "x", "finish_reason": "COMPLETE", "message": message, "usage": usage}


def gemini(count: Any, text: Any = "fine") -> Any:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}
    usage = {"promptTokenCount": count, "candidatesTokenCount": 4}
    return {"candidates": [candidate], "usageMetadata": usage}


def ollama(count: Any, text: Any = "fine") -> Any:
    told = {"model": "m", "done": True, "done_reason": "stop", "prompt_eval_count": count, "eval_count": 4}
    return {**told, "message": {"role": "assistant", "content": text}}


def openai(count: Any, text: Any = "fine") -> Any:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": count, "completion_tokens": 4}
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


VENDORS: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "claude": (claude, {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "{}"}),
    "cohere": (cohere, {"COHERE_API_KEY": KEY, "COHERE_BASE_URL": "{}"}),
    "gemini": (gemini, {"GOOGLE_API_KEY": KEY, "GEMINI_BASE_URL": "{}"}),
    "gemini-legacy": (gemini, {"GOOGLE_API_KEY": KEY, "GEMINI_BASE_URL": "{}"}),
    "ollama": (ollama, {"OLLAMA_BASE_URL": "{}"}),
    "openai": (openai, {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "{}/v1", "OPENAI_MODEL": "gpt-5.2"}),
}
DEEP = "[" * 50_000 + "]" * 50_000
# A reply whose count, or text, is odd: whether there is an answer then, and what is known of its tokens.
ODD_COUNTS = ("-3", "NaN", "Infinity", "1e400", "true", '"many"', "[]", "1.5")
ODD_BODIES = (DEEP, f'{{"a": {DEEP}}}', "NaN", "null", '"text"', "7", "[]", "{}")
ODD_TEXTS = ("7", "{}", "[[]]", "true", DEEP)


def ask(name: str, body: str) -> tuple[bool, Any, Any]:
    """Return whether there is an answer, its usage, and the failure."""
    reply = Reply(body, content_type="application/json")
    with FaultServer(lambda request: reply) as server:
        told = {variable: value.format(server.url) for variable, value in VENDORS[name][1].items()}
        with LLMFactory(name, [], settings=told, extensions=[]) as factory:
            response = factory.generate_content("Hello", max_retries=0)
    return response.success, response.usage, response.failure and response.failure.failures[0]


@pytest.mark.parametrize("lane", ["sdk", "http"])
@pytest.mark.parametrize("name", VENDORS)
def test_an_error_whose_body_cannot_be_decoded_is_told_by_its_status(name: str, lane: str) -> None:
    if (name, lane) == ("gemini-legacy", "http"):
        pytest.skip("it has no other lane than its SDK")
    for encoding in ("br", "gzip"):
        reply = Reply('{"error": "no"}', 503, "application/json", {"content-encoding": encoding})
        with FaultServer(lambda request, reply=reply: reply) as server:
            told = {variable: value.format(server.url) for variable, value in VENDORS[name][1].items()}
            told[f"{name.upper()}_TRANSPORT"] = lane
            with LLMFactory(name, [], settings=told, extensions=[]) as factory:
                failure = factory.generate_content("Hello", max_retries=0).failure
        assert isinstance(failure, AllProvidersFailed)
        assert type(failure.failures[0]) is Overloaded, (encoding, failure)


def written(document: Any, odd: str) -> str:
    return json.dumps(document).replace(f'"{HOLE}"', odd)


@pytest.mark.parametrize("name", VENDORS)
def test_a_count_that_is_none_is_left_out_and_costs_no_answer(name: str) -> None:
    make = VENDORS[name][0]
    for odd in ODD_COUNTS:
        answered, usage, failure = ask(name, written(make(HOLE), odd))
        # Google's own SDK for gemini-legacy reads each field by its type, and refuses some itself.
        assert (answered and usage is None) or type(failure) is MalformedResponse, (odd, usage, failure)
        assert answered or odd in ("NaN", "Infinity", "1e400") or name == "gemini-legacy", (odd, failure)


@pytest.mark.parametrize("name", VENDORS)
def test_what_is_no_answer_is_malformed(name: str) -> None:
    make = VENDORS[name][0]
    for body in ODD_BODIES:
        answered, _, failure = ask(name, body)
        assert not answered, body[:80]
        assert type(failure) is MalformedResponse, (body[:80], failure)
    for odd in ODD_TEXTS:
        answered, _, failure = ask(name, written(make(4, HOLE), odd))
        assert not answered, odd[:80]
        assert type(failure) in (MalformedResponse, EmptyResponse), (odd[:80], failure)
