"""Replies that Ollama really sent, replayed over a socket to the real SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy import Failure, Finish, LLMResponse, Message, Request, Settings, TextDelta, ThinkingDelta, Tool
from understudy.errors import ContextTooLong, ModelNotFound
from understudy_ollama import OllamaProvider

EXPECTED_FAILURES: Mapping[tuple[int, str], type[Failure]] = {
    (404, "model 'nonexistent-model:latest' not found"): ModelNotFound,
    (400, "prompt too long; exceeded max context length by 1119046 tokens"): ContextTooLong,
}


def test_a_recorded_reply_gives_its_text_calls_usage_or_typed_failure(recording: Path, replay: Any) -> None:
    document = json.loads(recording.read_text("utf-8"))
    for index, recorded in enumerate(document["replies"]):
        for asked_async in (False, True):
            # the second time in pieces that fall anywhere, within characters too
            with replay(recording, start=index, chunk="7" if asked_async else "event") as server:
                outcome, events = _ask(server.url, recorded["request"], asked_async)
                assert len(server.log) == 1
            if recorded["status"] == 200:
                assert isinstance(outcome, LLMResponse), outcome
                _check_answer(recorded, outcome, events)
            else:
                _check_failure(recorded, outcome)


def _ask(url: str, asked: Mapping[str, Any], asked_async: bool) -> tuple[LLMResponse | Failure, list[Any]]:
    """Ask once, as the recorded request did, and return the answer or failure, and the events of a stream."""
    provider = OllamaProvider(Settings(environment={"OLLAMA_BASE_URL": url}))
    request = Request(
        messages=(Message.user("Hello"),),
        model=asked["model"],
        tools=(Tool(name="weather"),) if asked["has_tools"] else (),
        timeout=5,
    )
    events: list[Any] = []

    async def collect() -> LLMResponse:
        if not asked["stream"]:
            return await provider.agenerate(request)
        async for event in provider.astream(request):
            events.append(event)
        finish: Finish = events.pop()
        return finish.response

    try:
        if asked_async:
            return asyncio.run(collect()), events
        if not asked["stream"]:
            return provider.generate(request), events
        events += provider.stream(request)
        finish: Finish = events.pop()
        return finish.response, events
    except Failure as failure:
        return failure, events
    finally:
        provider.close()


def _check_failure(recorded: Mapping[str, Any], outcome: LLMResponse | Failure) -> None:
    assert isinstance(outcome, Failure), outcome
    kind = next(
        kind
        for (status, words), kind in EXPECTED_FAILURES.items()
        if status == recorded["status"] and outcome.message.startswith(words)
    )
    model = recorded["request"]["model"]
    assert type(outcome) is kind
    assert (outcome.provider, outcome.model, outcome.status) == ("ollama", model, recorded["status"])
    assert (f"ollama pull {model}" in outcome.message) is (kind is ModelNotFound)


def _check_answer(recorded: Mapping[str, Any], outcome: LLMResponse, events: list[Any]) -> None:
    sent = [json.loads(line) for line in recorded["body"].split("\n") if line]
    messages = [chunk["message"] for chunk in sent]
    text = "".join(message["content"] for message in messages)
    thinking = "".join(message.get("thinking", "") for message in messages)
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    assert (outcome.content, outcome.thinking) == (text, thinking)
    assert [(call.id, call.name, call.arguments) for call in outcome.tool_calls] == [
        (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls
    ]
    if recorded["request"]["stream"]:
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text
        assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == thinking
    assert outcome.usage is not None
    assert outcome.usage.input_tokens == sent[-1].get("prompt_eval_count", 0)
    assert outcome.usage.output_tokens == sent[-1]["eval_count"]
    assert outcome.finish_reason == ("tool_calls" if calls else "stop")
    assert outcome.model == recorded["request"]["model"]
