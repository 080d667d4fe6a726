"""Replies that the API really sent, replayed over a socket to the real SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy import Failure, Finish, LLMResponse, Message, Request, Settings, TextDelta, Tool
from understudy.errors import AuthenticationFailed, ModelNotFound
from understudy_cohere import CohereProvider

EXPECTED_FAILURES: Mapping[int, type[Failure]] = {401: AuthenticationFailed, 404: ModelNotFound}
FINISHES = {"COMPLETE": "stop", "TOOL_CALL": "tool_calls"}


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
    provider = CohereProvider(Settings(environment={"COHERE_API_KEY": "not-a-real-key", "COHERE_BASE_URL": url}))
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
    headers = {name.lower(): value for name, value in recorded["headers"]}
    if recorded["status"] != 200:
        error = json.loads(recorded["body"])
        assert type(outcome) is EXPECTED_FAILURES[recorded["status"]]
        assert (outcome.provider, outcome.model) == ("cohere", recorded["request"]["model"])
        assert (outcome.status, outcome.message) == (recorded["status"], error["message"])
        assert outcome.request_id == headers.get("x-debug-trace-id", error["id"])
        return
    assert isinstance(outcome, LLMResponse), outcome
    if recorded["request"]["stream"]:
        sent = list(_sent_events(recorded["body"]))
        ending = next(event["delta"] for event in sent if event["type"] == "message-end")
        text = "".join(
            event["delta"]["message"]["content"]["text"] for event in sent if event["type"] == "content-delta"
        )
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text
        message: Mapping[str, Any] = {"content": [{"text": text}]}
    else:
        ending = json.loads(recorded["body"])
        message = ending["message"]
    assert outcome.content == "".join(block["text"] for block in message.get("content", ()))
    assert outcome.thinking == message.get("tool_plan", "")
    assert outcome.metadata.get("citations") == message.get("citations")
    calls = [(call["id"], call["function"]["name"]) for call in message.get("tool_calls", ())]
    assert [(call.id, call.name) for call in outcome.tool_calls] == calls
    arguments = [json.loads(call["function"]["arguments"]) for call in message.get("tool_calls", ())]
    assert [call.arguments for call in outcome.tool_calls] == arguments
    assert outcome.usage is not None
    assert outcome.usage.input_tokens == ending["usage"]["tokens"]["input_tokens"]
    assert outcome.usage.output_tokens == ending["usage"]["tokens"]["output_tokens"]
    assert outcome.usage.cache_read_tokens == ending["usage"]["cached_tokens"]
    assert outcome.finish_reason == FINISHES[ending["finish_reason"]]
    assert outcome.request_id == headers["x-debug-trace-id"]


def _sent_events(body: str) -> Iterator[Any]:
    lines = (line[5:].strip() for line in body.splitlines() if line.startswith("data:"))
    return (json.loads(line) for line in lines if line != "[DONE]")
