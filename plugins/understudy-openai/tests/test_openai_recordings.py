"""Replies that OpenAI and others with its API really sent, replayed over a socket to the real SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy import Failure, Finish, LLMResponse, Message, Request, Settings, TextDelta, Tool, ToolCallDelta
from understudy.errors import (
    AuthenticationFailed,
    ContextTooLong,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    ServerError,
)
from understudy_openai import OpenAIProvider

EXPECTED_FAILURES: Mapping[tuple[int, str], type[Failure]] = {
    (400, "Your input exceeds the context window of this model"): ContextTooLong,
    (401, "Incorrect API key provided"): AuthenticationFailed,
    (429, "Rate limit exceeded"): RateLimited,  # Mistral
    (429, "Rate limit reached for model"): RateLimited,  # Groq
    (429, "Request too large"): RequestTooLarge,
    (429, "You exceeded your current quota"): QuotaExhausted,
    (429, "Your requests to grok"): RateLimited,  # Azure
    (500, "An error occurred while"): ServerError,  # OpenAI and Azure
    (503, "expected JSON, found: upstream connect error"): Overloaded,
}
PATHS = {"chat": "/chat/completions", "responses": "/responses"}


def test_a_recorded_reply_gives_its_text_calls_usage_or_typed_failure(recording: Path, replay: Any) -> None:
    document = json.loads(recording.read_text("utf-8"))
    checked = 0
    for index, recorded in enumerate(document["replies"]):
        api = next((api for api, path in PATHS.items() if recorded["request"]["path"].endswith(path)), None)
        if api is None:
            continue  # files and vector stores, which are not asked for here
        checked += 1
        for asked_async in (False, True):
            # the second time in pieces that fall anywhere, within characters too
            with replay(recording, start=index, chunk="7" if asked_async else "event") as server:
                outcome, events = _ask(server.url, api, recorded["request"], asked_async)
                [received] = server.log
            assert received["path"] == f"/v1{PATHS[api]}"
            _check(recorded, api, outcome, events)
    assert checked


def _ask(url: str, api: str, asked: Mapping[str, Any], asked_async: bool) -> tuple[LLMResponse | Failure, list[Any]]:
    """Ask once, as the recorded request did, and return the answer or failure, and the events of a stream."""
    environment = {"OPENAI_API_KEY": "not-a-real-key", "OPENAI_BASE_URL": f"{url}/v1"}
    provider = OpenAIProvider(Settings(environment=environment))
    request = Request(
        messages=(Message.user("Hello"),),
        model=asked["model"],
        tools=(Tool(name="weather"),) if asked["has_tools"] else (),
        timeout=5,
        options={"openai": {"api": api}},
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


def _check(recorded: Mapping[str, Any], api: str, outcome: LLMResponse | Failure, events: list[Any]) -> None:
    if recorded["status"] != 200:
        _check_failure(recorded, outcome)
        return
    assert isinstance(outcome, LLMResponse), outcome
    streamed = bool(recorded["request"]["stream"])
    if api == "responses":
        *_, last = _sent_events(recorded["body"])
        _check_response(outcome, last["response"])
    elif streamed:
        _check_chunks(outcome, list(_sent_events(recorded["body"])), events)
    else:
        _check_completion(outcome, json.loads(recorded["body"]))
    if streamed:
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == outcome.content
    assert outcome.finish_reason == ("tool_calls" if outcome.tool_calls else "stop")


def _check_failure(recorded: Mapping[str, Any], outcome: LLMResponse | Failure) -> None:
    assert isinstance(outcome, Failure), outcome
    headers = {name.lower(): value for name, value in recorded["headers"]}
    kind = next(
        kind
        for (status, words), kind in EXPECTED_FAILURES.items()
        if status == recorded["status"] and outcome.message.startswith(words)
    )
    assert type(outcome) is kind
    assert (outcome.provider, outcome.model) == ("openai", recorded["request"]["model"])
    assert outcome.status == recorded["status"]
    hints = (float(headers.get("retry-after", -1)), float(headers.get("retry-after-ms", -1)) / 1000)
    assert outcome.retry_after == (max(hints) if max(hints) >= 0 else None)
    known = {"x-request-id", "apim-request-id", "mistral-correlation-id"} & set(headers)
    assert bool(outcome.request_id) is bool(known)
    if "json" in headers.get("content-type", ""):
        body = json.loads(recorded["body"])
        error = body.get("error", body)
        assert outcome.message == error["message"]
        assert outcome.code == error.get("code")


def _check_completion(outcome: LLMResponse, body: Mapping[str, Any]) -> None:
    message = body["choices"][0]["message"]
    assert outcome.content == (message.get("content") or "")
    calls = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in _calls(message)]
    assert [(call.id, call.name, call.arguments) for call in outcome.tool_calls] == [
        (call_id, name, json.loads(arguments)) for call_id, name, arguments in calls
    ]
    _check_usage(outcome, body["usage"], "prompt_tokens", "completion_tokens")


def _check_chunks(outcome: LLMResponse, sent: list[Any], events: list[Any]) -> None:
    deltas = [choice["delta"] for chunk in sent for choice in chunk["choices"]]
    assert outcome.content == "".join(delta.get("content") or "" for delta in deltas)
    pieces = [call for delta in deltas for call in _calls(delta)]
    spelled = "".join(piece["function"]["arguments"] for piece in pieces)
    assert "".join(event.arguments for event in events if isinstance(event, ToolCallDelta)) == spelled
    begun = [(piece["id"], piece["function"]["name"]) for piece in pieces if "id" in piece]
    assert [(call.id, call.name) for call in outcome.tool_calls] == begun
    for position, call in enumerate(outcome.tool_calls):
        own = [piece["function"]["arguments"] for piece in pieces if piece["index"] == position]
        assert call.arguments == json.loads("".join(own))
    _check_usage(outcome, sent[-1]["usage"], "prompt_tokens", "completion_tokens")


def _check_response(outcome: LLMResponse, response: Mapping[str, Any]) -> None:
    said = [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]
    assert outcome.content == "".join(said)
    kept = [part.provider_data["openai"]["item"] for part in outcome.parts]
    assert [item for item in kept if item["type"] == "reasoning"] == [
        item for item in response["output"] if item["type"] == "reasoning"
    ]
    _check_usage(outcome, response["usage"], "input_tokens", "output_tokens")


def _check_usage(outcome: LLMResponse, usage: Mapping[str, Any], read: str, written: str) -> None:
    assert outcome.usage is not None
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (usage[read], usage[written])


def _calls(message: Mapping[str, Any]) -> list[Any]:
    return message.get("tool_calls") or []


def _sent_events(body: str) -> Iterator[Any]:
    lines = (line[5:].strip() for line in body.splitlines() if line.startswith("data:"))
    return (json.loads(line) for line in lines if line != "[DONE]")
