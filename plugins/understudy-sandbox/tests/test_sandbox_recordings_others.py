"""The replies of the stand-ins for OpenAI, Cohere and Ollama have the shape of recorded ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from understudy_sandbox import Fault, Sandbox, faults

OPENAI = "charmbracelet__fantasy/openai/"
RUBY = "crmne__ruby_llm/"
SSE = f"{RUBY}openai/chat_streaming_responses"
COHERE = f"{RUBY}cohere/chat_"
HELLO = [{"role": "user", "content": "Hello there"}]
NUMBERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": NUMBERS}} for name in ("add", "multiply")]
CALLING = {"messages": [{"role": "user", "content": "add and multiply"}], "tools": TOOLS}
COUNTED = {"stream": True, "stream_options": {"include_usage": True}}
THINKING = {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"], "store": False}

Ask = Callable[..., str]


@pytest.fixture
def ask(sandbox: Sandbox, send: Callable[..., tuple[int, str]]) -> Ask:
    """Asks the stand-in whose path this is, and returns the body of its reply."""
    vendors = {"/v1": "openai", "/v2": "cohere", "/ap": "ollama"}
    models = {"openai": "gpt-4.1-nano", "cohere": "command-a-03-2025", "ollama": "llama3"}

    def ask(path: str, fault: Fault | None = None, **body: Any) -> str:
        vendor = vendors[path[:3]]
        sandbox[vendor].next(fault)
        return send(sandbox[vendor].url + path, {"model": models[vendor], **body})[1]

    return ask


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/chat/completions", {"messages": HELLO}, f"{OPENAI}simple.json"),
        ("/v1/chat/completions", CALLING, f"{OPENAI}multi_tool.json"),
        ("/v2/chat", {"messages": HELLO}, f"{COHERE}basic_chat"),
        ("/v2/chat", CALLING, f"{COHERE}function_calling"),
        ("/api/chat", {"messages": HELLO, "stream": False}, "traceloop__openllmetry/ollama/test_ollama_chat_legacy"),
    ],
)
def test_plain_replies(recordings: Any, ask: Ask, path: str, body: Any, name: str) -> None:
    recordings.same_shape(json.loads(ask(path, **body)), json.loads(recordings.body(name)))


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/chat/completions", {"messages": HELLO, **COUNTED}, f"{OPENAI}simple_streaming.json"),
        ("/v1/chat/completions", {**CALLING, **COUNTED}, f"{OPENAI}multi_tool_streaming.json"),
        ("/v1/responses", {"model": "gpt-5-nano", "input": "Hello", "stream": True, **THINKING}, SSE),
        ("/v2/chat", {"messages": HELLO, "stream": True}, f"{COHERE}streaming_responses"),
        ("/api/chat", {"messages": HELLO}, "traceloop__openllmetry/ollama/test_ollama_streaming_chat_legacy"),
    ],
)
def test_streams(recordings: Any, ask: Ask, path: str, body: Any, name: str) -> None:
    sent, recorded = ask(path, **body), recordings.body(name)
    ours, theirs = recordings.events(sent), recordings.events(recorded)
    assert order(ours) == order(theirs)
    assert sent.endswith("data: [DONE]\n\n") is recorded.endswith("data: [DONE]\n\n")
    assert [line for line in sent.splitlines() if line.startswith("event: ")] != [] or "event: " not in recorded
    recordings.same_shape(ours, theirs)


def order(stream: list[Any]) -> list[str]:
    """What tells the events of a stream apart, with runs of the same as one."""
    names = [str(event.get("type") or kinds(event)) for event in stream]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def kinds(event: Any) -> Any:
    """What a chunk without a type brings: the members of its delta, whether it has a reason, a usage."""
    choices = event.get("choices")
    if choices is None:
        return event["done"]
    bare = [(sorted(one["delta"]), one["finish_reason"], bool(one["delta"].get("tool_calls"))) for one in choices]
    return bare, event.get("usage") is not None


def test_a_tool_call_of_ollama(recordings: Any, ask: Ask) -> None:
    theirs = json.loads(recordings.body("Arize-ai__openinference/ollama/test_chat_with_tool_call"))
    tool = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    asked = {
        "messages": [{"role": "user", "content": "get_weather"}],
        "tools": [{"type": "function", "function": tool}],
    }
    recordings.same_shape(json.loads(ask("/api/chat", **asked, model="qwen3.6", stream=False)), theirs)


@pytest.mark.parametrize(
    ("path", "fault", "name", "reply"),
    [
        ("/v1/responses", faults.authentication_failed(), f"{RUBY}openai/chat_error_handling", 0),
        ("/v1/responses", faults.context_too_long(), f"{RUBY}openai/chat_real_error_scenarios_openai_gpt-5-nano", 0),
        ("/v1/chat/completions", faults.request_too_large(), f"{RUBY}openai/chat_real_error_scenarios_openai_gpt-4", 0),
        ("/v1/responses", faults.server_error(), f"{RUBY}openai/chat_real_error_scenarios_openai_gpt-4", 1),
        ("/v1/responses", faults.quota_exhausted(), "pydantic__pydantic-ai/openai/test_openai_responses_model_file", 3),
        ("/v2/chat", faults.authentication_failed(), f"{COHERE}error_handling", 0),
        ("/v2/chat", faults.model_not_found(), "pydantic__pydantic-ai/cohere/TestCohere.test_embed_error", 0),
        ("/api/chat", faults.model_not_found(), "Arize-ai__openinference/ollama/test_chat_error", 0),
    ],
    ids=str,
)
def test_failures(recordings: Any, ask: Ask, path: str, fault: Fault, name: str, reply: int) -> None:
    ours, theirs = json.loads(ask(path, fault, messages=HELLO)), json.loads(recordings.body(name, reply))
    recordings.same_shape(ours, theirs)
    for member in ("type", "code", "param"):
        if isinstance(theirs.get("error"), dict):
            assert ours["error"][member] == theirs["error"][member]
    assert first_word(ours) == first_word(theirs)


def first_word(document: Any) -> str:
    error = document.get("error", document)
    return str(error if isinstance(error, str) else error["message"]).partition(" ")[0]


def test_the_gateway_of_openai_speaks_plain_text(recordings: Any, ask: Ask) -> None:
    theirs = recordings.body("Arize-ai__openinference/openai/test_crewai")
    assert ask("/v1/chat/completions", faults.overloaded(), messages=HELLO)[:40] == theirs[:40]
