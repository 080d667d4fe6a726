"""What a model refuses is left out once more, and at once from then on, over the wire; what relays make of streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from understudy import Failure, Finish, Image, LLMFactory, LLMResponse, Message, Request, Tool, Usage
from understudy.errors import MalformedResponse, Overloaded, RequestRefused, StreamInterrupted
from understudy_gemini import GeminiProvider
from understudy_gemini_wire.adaptations import (
    JSON_OR_TOOLS,
    SIMPLER_SCHEMAS,
    SYSTEM_FIRST,
    UNFORCED,
    WITHOUT_JSON_MODE,
    WITHOUT_THINKING_CONFIG,
    with_at_most,
    without,
)
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiProvider, Request], LLMResponse]
ASKED = Request(messages=(Message.user("hello"),))
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
TOOL = Tool(name="weather", parameters={"type": "object", "properties": {"at": {"type": ["string", "integer"]}}})
MODEL = "gemma-3-27b-it"


def refusal(message: str) -> faults.Fault:
    return faults.status(400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})


def config(body: Any) -> Any:
    return body.get("generationConfig", {})


# What the model says, what is asked besides the prompt, how it is asked once more, what that request has not any more.
REFUSED: list[tuple[str, dict[str, Any], str, Callable[[Any], Any]]] = [
    (
        "Developer instruction is not enabled for models/x",
        {"system": "be short"},
        *(SYSTEM_FIRST, lambda b: b.get("systemInstruction")),
    ),
    (
        "JSON mode is not enabled for models/x",
        {"output_schema": SCHEMA},
        *(WITHOUT_JSON_MODE, lambda b: config(b).get("responseMimeType")),
    ),
    (
        "Function calling with a response mime type: 'application/json' is unsupported",
        {"output_schema": SCHEMA, "tools": [TOOL]},
        *(JSON_OR_TOOLS, lambda b: config(b).get("responseMimeType")),
    ),
    (
        "The specified schema produces a constraint that has too many states for serving.",
        {"output_schema": SCHEMA},
        *(SIMPLER_SCHEMAS, lambda b: config(b).get("responseJsonSchema")),
    ),
    (
        "FunctionDeclaration 'weather' in the request exceeds the maximum allowed nesting depth.",
        {"tools": [TOOL]},
        *(SIMPLER_SCHEMAS, lambda b: b["tools"][0]["functionDeclarations"][0].get("parametersJsonSchema")),
    ),
    (
        "Function calling mode `ANY` is not enabled for api version v1beta",
        {"tools": [TOOL], "tool_choice": "required"},
        *(UNFORCED, lambda b: b["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"),
    ),
    (
        "temperature is not supported by this model",
        {"temperature": 0.5},
        *(without("temperature", "topP", "topK"), lambda b: config(b).get("temperature")),
    ),
    (
        "Budget 0 is invalid. This model only works in thinking mode.",
        {"options": {"gemini": {"thinkingConfig": {"thinkingBudget": 0}}}},
        *(WITHOUT_THINKING_CONFIG, lambda b: config(b).get("thinkingConfig")),
    ),
    (
        "it has a maxOutputTokens value of 9000 but the supported range is from 1 (inclusive) to 8193 (exclusive).",
        {"max_tokens": 9000},
        *(with_at_most(8192), lambda b: config(b)["maxOutputTokens"] > 8192),
    ),
]


@pytest.fixture
def factory(sandbox_environment: dict[str, str], lane: str) -> Iterator[LLMFactory]:
    settings = {**sandbox_environment, "GEMINI_TRANSPORT": lane, "GEMINI_MODEL": MODEL}
    with LLMFactory("gemini", [], settings=settings, extensions=[]) as made:
        yield made


def asked(factory: LLMFactory, streamed: bool, **more: Any) -> LLMResponse:
    if not streamed:
        return factory.generate_content("Say it", **more)
    *_, last = factory.stream_content("Say it", **more)
    assert isinstance(last, Finish)
    return last.response


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("message", "more", "adaptation", "kept"), REFUSED, ids=[message[:40] for message, *_ in REFUSED]
)
def test_what_a_model_refuses_is_asked_otherwise_once_more_and_from_then_on(
    sandbox: Sandbox,
    factory: LLMFactory,
    streamed: bool,
    message: str,
    more: dict[str, Any],
    adaptation: str,
    kept: Callable[[Any], Any],
) -> None:
    sandbox.gemini.next(refusal(message))
    for _ in range(2):
        sandbox.gemini.reply('{"n": 1}')
    response = asked(factory, streamed, **more)
    assert response.success, response.error
    assert [attempt.reason for attempt in response.attempts][1:] == [f"once more, {adaptation}"]
    assert response.warnings
    first, second = (request.json for request in sandbox.gemini.requests)
    assert kept(first)
    assert not kept(second)
    again = asked(factory, streamed, **more)
    third = sandbox.gemini.requests[-1].json
    if "Budget 0" in message:  # another budget would be taken
        assert kept(third)
        return
    assert (third, len(again.attempts)) == (second, 1)
    assert [warning.message for warning in again.warnings] == [warning.message for warning in response.warnings]


def test_a_model_that_is_not_told_how_much_to_think_gets_room_for_what_is_usual(
    provider: GeminiProvider, sandbox: Sandbox
) -> None:
    request = Request(messages=ASKED.messages, model="gemini-3.8-flash", max_tokens=100)
    little = provider.thinking_room(request)
    sandbox.gemini.next(refusal("Thinking level is not supported for this model."))
    with pytest.raises(Failure) as caught:
        provider.generate(request)
    assert caught.value.adaptation == WITHOUT_THINKING_CONFIG
    assert provider.thinking_room(request) > little
    provider.generate(request)
    sent = config(sandbox.gemini.requests[-1].json)
    assert (sent["maxOutputTokens"], "thinkingConfig" in sent) == (100 + provider.thinking_room(request), False)


def test_a_refusal_of_another_kind_is_the_next_targets_chance(
    provider: GeminiProvider, sandbox: Sandbox, ask: Ask
) -> None:
    sandbox.gemini.next(
        refusal("Please ensure that function response turn comes immediately after a function call turn.")
    )
    with pytest.raises(RequestRefused) as caught:
        ask(provider, ASKED)
    assert caught.value.adaptation is None


# ---- streams as relays send them ----


def piece(text: str = "", reason: str | None = None, **members: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}] if text else []}}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})], **members}


PICTURE = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
COUNTED = {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}


def sse(*events: Any) -> str:
    return "".join(one if isinstance(one, str) else f"data: {json.dumps(one)}\n\n" for one in events)


def served(body: Any, kind: str = "text/event-stream") -> faults.Fault:
    return faults.status(200, body if isinstance(body, str) else json.dumps(body), {"content-type": kind})


DONE = "data: [DONE]\n\n"
ALIVE = [": hm\n\n", "data:\n\n", "data: : keepalive\n\n", "event: ping\ndata: x\n\n"]
WHOLE = [
    sse("\ufeff", piece("po"), *ALIVE, piece("ng", "STOP"), DONE),
    sse(piece("pong", "STOP", **COUNTED), "data: {broken\n\n"),
    sse(piece("pong", **COUNTED), "data: {broken\n\n", piece("", "STOP", **COUNTED)),
    [piece("po"), piece("ng", "STOP")],
    piece("pong", "STOP"),
]
BROKEN: list[tuple[Any, type[Failure]]] = [
    (
        sse(piece("po"), {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}, "data: [DONE]\n\n"),
        Overloaded,
    ),
    (sse(piece("po"), [{"error": {"code": 503, "message": "no"}}], piece("ng", "STOP")), Overloaded),
    (sse(piece("po"), 'event: error\ndata: {"code": 503, "message": "no"}\n\n', piece("ng", "STOP")), Overloaded),
    ([piece("po"), {"error": {"code": 503, "message": "no"}}], Overloaded),
    (sse(piece("po"), "data: {broken\n\n", piece("ng", "STOP")), MalformedResponse),
    (sse(piece("po"), DONE), StreamInterrupted),
]


@pytest.mark.parametrize("body", WHOLE, ids=range(len(WHOLE)))
def test_a_healthy_stream_is_an_answer_in_each_form(
    provider: GeminiProvider, sandbox: Sandbox, ask_stream: Ask, body: Any
) -> None:
    sandbox.gemini.next(served(body, "text/event-stream" if isinstance(body, str) else "application/json"))
    response = ask_stream(provider, ASKED)
    assert response.content == "pong"
    assert response.usage in (None, Usage(input_tokens=3, output_tokens=2))
    assert bool(response.warnings) is ("broken" in str(body))


@pytest.mark.parametrize(("body", "failure"), BROKEN, ids=range(len(BROKEN)))
def test_half_an_answer_is_none(
    provider: GeminiProvider, sandbox: Sandbox, ask_stream: Ask, body: Any, failure: type[Failure]
) -> None:
    sandbox.gemini.next(served(body, "text/event-stream" if isinstance(body, str) else "application/json"))
    with pytest.raises(failure) as caught:
        ask_stream(provider, ASKED)
    assert type(caught.value) is failure


def test_a_picture_is_an_answer_whole_and_streamed(provider: GeminiProvider, sandbox: Sandbox, ask: Ask) -> None:
    drawn = piece("", "STOP") | {"candidates": [{"content": {"parts": [PICTURE]}, "finishReason": "STOP"}]}
    sandbox.gemini.next(served(drawn, "application/json"))
    (part,) = ask(provider, ASKED).parts
    assert isinstance(part, Image)
    assert part.data == b"\x89PNG\r\n\x1a\n"


def test_an_error_in_a_reply_of_200_is_one_and_a_list_of_chunks_an_answer(
    provider: GeminiProvider, sandbox: Sandbox, ask_whole: Ask
) -> None:
    sandbox.gemini.next(served({"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}, "application/json"))
    with pytest.raises(Overloaded):
        ask_whole(provider, ASKED)
    sandbox.gemini.next(served([piece("po"), piece("ng", "STOP")], "application/json"))
    assert ask_whole(provider, ASKED).content == "pong"
