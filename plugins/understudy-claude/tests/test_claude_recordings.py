"""Replies that the API really sent, replayed over a socket to the real SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy import (
    Failure,
    Finish,
    LLMResponse,
    Message,
    Request,
    Settings,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolCallDelta,
)
from understudy.errors import AuthenticationFailed, ContextTooLong, Overloaded, RateLimited
from understudy_claude import ClaudeProvider

EXPECTED_FAILURES: Mapping[tuple[int, str], type[Failure]] = {
    (400, "prompt is too long: 3333404 tokens > 200000 maximum"): ContextTooLong,
    (401, "invalid x-api-key"): AuthenticationFailed,
    (429, "This request would exceed"): RateLimited,
    (529, "Overloaded"): Overloaded,
    (200, "Overloaded"): Overloaded,
}


def test_a_recorded_reply_gives_its_text_calls_usage_or_typed_failure(recording: Path, replay: Any) -> None:
    document = json.loads(recording.read_text("utf-8"))
    for index, recorded in enumerate(document["replies"]):
        for asked_async in (False, True):
            # the second time in pieces that fall anywhere, within characters too
            with replay(recording, start=index, chunk="7" if asked_async else "event") as server:
                outcome, events = _ask(server.url, recorded["request"], asked_async)
                assert len(server.log) == 1
            _check(recorded, outcome, events)


def _ask(url: str, asked: Mapping[str, Any], asked_async: bool) -> tuple[LLMResponse | Failure, list[Any]]:
    """Ask once, as the recorded request did, and return the answer or failure, and the events of a stream."""
    provider = ClaudeProvider(Settings(environment={"ANTHROPIC_API_KEY": "not-a-real-key", "ANTHROPIC_BASE_URL": url}))
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
        for event in provider.stream(request):
            events.append(event)
        finish: Finish = events.pop()
        return finish.response, events
    except Failure as failure:
        return failure, events
    finally:
        provider.close()


def _check(recorded: Mapping[str, Any], outcome: LLMResponse | Failure, events: list[Any]) -> None:
    streamed = recorded["request"]["stream"] and recorded["status"] == 200
    sent = list(_sent_events(recorded["body"])) if streamed else [json.loads(recorded["body"])]
    error = next((event["error"] for event in sent if event["type"] == "error"), None)
    if error is not None:
        _check_failure(recorded, outcome, error)
    else:
        assert isinstance(outcome, LLMResponse), outcome
        _check_answer(outcome, sent, streamed)
    if streamed:
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text == "".join(_deltas(sent, "text_delta", "text"))
        thinking = "".join(event.text for event in events if isinstance(event, ThinkingDelta))
        assert thinking == "".join(_deltas(sent, "thinking_delta", "thinking"))
        arguments = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
        assert arguments == "".join(_deltas(sent, "input_json_delta", "partial_json"))


def _check_failure(recorded: Mapping[str, Any], outcome: LLMResponse | Failure, error: Mapping[str, Any]) -> None:
    headers = {name.lower(): value for name, value in recorded["headers"]}
    kind = next(
        kind
        for (status, words), kind in EXPECTED_FAILURES.items()
        if status == recorded["status"] and error["message"].startswith(words)
    )
    assert type(outcome) is kind
    assert (outcome.provider, outcome.model) == ("claude", recorded["request"]["model"])
    assert (outcome.status, outcome.code) == (recorded["status"], error["type"])
    assert outcome.retry_after == (float(headers["retry-after"]) if "retry-after" in headers else None)
    assert outcome.retryable is (False if headers.get("x-should-retry") == "false" else None)
    assert outcome.request_id
    assert outcome.message == error["message"]


def _check_answer(outcome: LLMResponse, sent: list[Any], streamed: bool) -> None:
    if streamed:
        usage = {**sent[0]["message"]["usage"]}
        usage.update(next(event["usage"] for event in sent if event["type"] == "message_delta"))
        content = "".join(_deltas(sent, "text_delta", "text"))
        thinking = "".join(_deltas(sent, "thinking_delta", "thinking"))
        blocks = [event["content_block"] for event in sent if event["type"] == "content_block_start"]
        inputs = "".join(_deltas(sent, "input_json_delta", "partial_json"))
    else:
        usage, blocks, thinking, inputs = sent[0]["usage"], sent[0]["content"], "", None
        content = "".join(block["text"] for block in blocks if block["type"] == "text")
    assert outcome.content == content
    assert outcome.thinking == thinking
    calls = [block for block in blocks if block["type"] == "tool_use"]
    assert [(call.id, call.name) for call in outcome.tool_calls] == [(call["id"], call["name"]) for call in calls]
    if inputs is None:
        assert [call.arguments for call in outcome.tool_calls] == [call["input"] for call in calls]
    elif inputs:
        assert [call.arguments for call in outcome.tool_calls] == [json.loads(inputs)]
    assert outcome.usage is not None
    assert outcome.usage.input_tokens == usage["input_tokens"]
    assert outcome.usage.output_tokens == usage["output_tokens"]
    assert outcome.finish_reason == ("tool_calls" if calls else "stop")


def _sent_events(body: str) -> Iterator[Any]:
    return (json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:"))


def _deltas(sent: list[Any], kind: str, field: str) -> Iterator[str]:
    deltas = (event["delta"] for event in sent if event["type"] == "content_block_delta")
    return (delta[field] for delta in deltas if delta["type"] == kind)
