"""The stand-ins' replies have the shape of replies recorded from the real vendors."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from understudy_sandbox import Fault, Sandbox, faults

CLAUDE = "crmne__ruby_llm/anthropic/chat_"
CLAUDE_TOO_LONG = f"{CLAUDE}real_error_scenarios_anthropic_claude-haiku-4-5_handles_context_length_exceeded_errors"
GEMINI = "crmne__ruby_llm/gemini/chat_"


def ask(sandbox: Sandbox, vendor: str, body: Any, stream: bool = False, fault: Fault | None = None) -> str:
    if vendor == "claude":
        url = f"{sandbox.claude.url}/v1/messages"
        body = {"model": "claude-haiku-4-5-20251001", "max_tokens": 4000, "stream": stream, **body}
    else:
        method = "streamGenerateContent?alt=sse&key=k" if stream else "generateContent?key=k"
        url = f"{sandbox.gemini.url}/v1beta/models/gemini-2.5-flash:{method}"
    if fault is not None:
        sandbox[vendor].next(fault)
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


HELLO_CLAUDE = {"messages": [{"role": "user", "content": "What's 2 + 2?"}]}
HELLO_GEMINI = {"contents": [{"role": "user", "parts": [{"text": "What's 2 + 2?"}]}]}
UNTHINKING = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}  # as the model of that recording was


def test_plain_replies(sandbox: Sandbox, recordings: Any) -> None:
    claude = recordings.body(f"{CLAUDE}basic_chat_functionality_anthropic")
    recordings.same_shape(json.loads(ask(sandbox, "claude", HELLO_CLAUDE)), json.loads(claude))
    gemini = recordings.body(f"{GEMINI}basic_chat_functionality_gemini")
    recordings.same_shape(json.loads(ask(sandbox, "gemini", HELLO_GEMINI)), json.loads(gemini))


def test_claude_streams(sandbox: Sandbox, recordings: Any) -> None:
    thinking = HELLO_CLAUDE | {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    ours = recordings.events(ask(sandbox, "claude", thinking, stream=True))
    theirs = recordings.events(recordings.body(f"{CLAUDE}with_extended_thinking"))
    assert order(ours) == order(theirs)
    recordings.same_shape(ours, theirs)


def order(stream: list[Any]) -> list[str]:
    """The events of a stream with runs of the same event as one."""
    names = [f"{event['type']} {event.get('delta', {}).get('type', '')}" for event in stream]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def test_tool_calls(sandbox: Sandbox, recordings: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"latitude": {"type": "string"}, "longitude": {"type": "string"}},
        "required": ["latitude", "longitude"],
    }
    claude = {
        "messages": [{"role": "user", "content": "weather"}],
        "tools": [{"name": "weather", "input_schema": schema}],
    }
    ours = recordings.events(ask(sandbox, "claude", claude, stream=True))
    theirs = recordings.events(
        recordings.body(f"{CLAUDE}function_calling_anthropic_claude-haiku-4-5_can_use_tools_with_multi")
    )
    assert order(ours) == order(theirs)
    recordings.same_shape(ours, theirs)
    gemini = {
        "contents": [{"role": "user", "parts": [{"text": "weather"}]}],
        "tools": [{"functionDeclarations": [{"name": "weather", "parameters": schema}]}],
    }
    parallel = recordings.body(f"{GEMINI}function_calling_gemini_gemini-2_5-flash_can_use_parallel")
    recordings.same_shape(json.loads(ask(sandbox, "gemini", gemini)), json.loads(parallel))


@pytest.mark.parametrize(
    ("vendor", "fault", "file", "reply"),
    [
        ("claude", faults.authentication_failed(), f"{CLAUDE}error_handling", 0),
        ("claude", faults.rate_limited(47), f"{CLAUDE_TOO_LONG}@", 0),
        ("claude", faults.context_too_long(), f"{CLAUDE_TOO_LONG}.", 0),
        ("gemini", faults.authentication_failed(), f"{GEMINI}error_handling", 0),
        ("gemini", faults.rate_limited(48), f"{GEMINI}real_error_scenarios", 0),
        ("gemini", faults.overloaded(), "pydantic__pydantic-ai/gemini/test_google_model_file_search_tool", 3),
        ("gemini", faults.out_of_tokens(), "pydantic__pydantic-ai/gemini/test_google_model_max_tokens_thinking", 0),
    ],
    ids=str,
)  # fmt: skip
def test_failures(sandbox: Sandbox, recordings: Any, vendor: str, fault: Fault, file: str, reply: int) -> None:
    body = HELLO_CLAUDE if vendor == "claude" else HELLO_GEMINI
    ours, theirs = json.loads(ask(sandbox, vendor, body, fault=fault)), json.loads(recordings.body(file, reply))
    if vendor == "claude":
        assert (ours["type"], ours["error"]["type"]) == (theirs["type"], theirs["error"]["type"])
    elif "error" in theirs:
        assert (ours["error"]["code"], ours["error"]["status"]) == (theirs["error"]["code"], theirs["error"]["status"])
        kinds = {one["@type"] for one in theirs["error"].get("details", [])}
        mine = {one["@type"] for one in ours["error"].get("details", [])}
        assert (
            {kind for kind in kinds - mine if not any(one in kind for one in recordings.LEFT_OUT)}
            == mine - kinds
            == set()
        )
    assert set(recordings.paths(ours)) - set(recordings.paths(theirs)) == set()


def test_error_inside_a_stream(sandbox: Sandbox, recordings: Any) -> None:
    name = f"{CLAUDE}function_calling_anthropic_claude-3-5-haiku-20241022_can_use_tools_with_multi-turn"
    [theirs] = recordings.events(recordings.body(name, 1))
    [ours] = recordings.events(ask(sandbox, "claude", HELLO_CLAUDE, stream=True, fault=faults.stream_error()))
    assert order([ours]) == order([theirs])
    assert (ours["error"]["type"], set(ours["error"])) == (theirs["error"]["type"], set(theirs["error"]))


def test_gemini_stream(sandbox: Sandbox, recordings: Any) -> None:
    name = f"{GEMINI}function_calling_gemini_gemini-2_5-flash_can_use_tools_with_multi-turn_streaming"
    ours, theirs = (
        recordings.events(ask(sandbox, "gemini", HELLO_GEMINI | UNTHINKING, stream=True)),
        recordings.events(recordings.body(name, 1)),
    )
    recordings.same_shape(ours, theirs)
