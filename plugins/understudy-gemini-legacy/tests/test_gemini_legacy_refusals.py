"""What a model refuses is left out once more through google-generativeai too, as far as that has a place for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from understudy import Failure, Finish, LLMFactory, LLMResponse, Message, Request, ToolCall, ToolResult
from understudy.errors import MalformedResponse, Overloaded, UnsupportedRequest
from understudy_gemini_legacy import GeminiLegacyProvider
from understudy_gemini_wire.adaptations import SIMPLER_SCHEMAS, SYSTEM_FIRST, WITHOUT_JSON_MODE, with_at_most, without
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiLegacyProvider, Request], LLMResponse]
ASKED = Request(messages=(Message.user("hello"),))
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


def refusal(message: str) -> faults.Fault:
    return faults.status(400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})


@pytest.fixture
def factory(sandbox_environment: dict[str, str]) -> Iterator[LLMFactory]:
    with LLMFactory("gemini-legacy", [], settings=sandbox_environment, extensions=[]) as made:
        yield made


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("message", "more", "adaptation"),
    [
        ("Developer instruction is not enabled for models/x", {"system": "be short"}, SYSTEM_FIRST),
        ("JSON mode is not enabled for models/x", {"output_schema": SCHEMA}, WITHOUT_JSON_MODE),
        ("it has too many states for serving", {"output_schema": SCHEMA}, SIMPLER_SCHEMAS),
        ("temperature is not supported by this model", {"temperature": 0.5}, without("temperature", "topP", "topK")),
        ("maxOutputTokens: range is from 1 (inclusive) to 8193 (exclusive)", {"max_tokens": 9000}, with_at_most(8192)),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_a_model_refuses_is_asked_otherwise_once_more_and_from_then_on(
    sandbox: Sandbox, factory: LLMFactory, streamed: bool, message: str, more: dict[str, Any], adaptation: str
) -> None:
    def asked() -> LLMResponse:
        if not streamed:
            return factory.generate_content("Say it", **more)
        *_, last = factory.stream_content("Say it", **more)
        assert isinstance(last, Finish)
        return last.response

    sandbox.gemini.next(refusal(message))
    for _ in range(2):
        sandbox.gemini.reply('{"n": 1}')
    response = asked()
    assert response.success, response.error
    assert [attempt.reason for attempt in response.attempts][1:] == [f"once more, {adaptation}"]
    assert response.warnings
    assert len(asked().attempts) == 1
    first, second, third = (request.json for request in sandbox.gemini.requests)
    assert first != second == third


def test_a_missing_signature_is_not_mended_since_the_sdk_cannot_carry_one(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Ask
) -> None:
    sandbox.gemini.next(refusal("Function call is missing a thought_signature in functionCall parts."))
    called = Message.assistant(ToolCall(id="1", name="weather"))
    messages = (Message.user("a"), called, Message.tool(ToolResult(call_id="1", content="hot")))
    with pytest.raises(UnsupportedRequest) as caught:
        ask(provider, Request(messages=messages, model="a-model-of-mine"))
    assert caught.value.adaptation is None


def piece(text: str = "", reason: str | None = None) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}]}}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})]}


@pytest.mark.parametrize(
    ("body", "kind", "outcome"),
    [
        ("\ufeff" + json.dumps([piece("po"), piece("ng", "STOP")]), "application/json", "pong"),
        (f"data: {json.dumps(piece('pong', 'STOP'))}\n\n", "text/event-stream", "pong"),
        (json.dumps([piece("po"), {"error": {"code": 503, "message": "no"}}]), "application/json", Overloaded),
        (json.dumps([piece("po")])[:-1] + ", {broken}]", "application/json", MalformedResponse),
    ],
)
def test_a_stream_in_another_form(
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask_stream: Ask, body: str, kind: str, outcome: Any
) -> None:
    sandbox.gemini.next(faults.status(200, body, {"content-type": kind}))
    if isinstance(outcome, str):
        assert ask_stream(provider, ASKED).content == outcome
        return
    with pytest.raises(Failure) as caught:
        ask_stream(provider, ASKED)
    assert type(caught.value) is outcome
