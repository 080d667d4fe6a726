"""What tells a model at work from one that is gone: heartbeats in a stream, and how often OpenAI sends them."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    Finish,
    LLMFactory,
    Message,
    Request,
    Settings,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolCallDelta,
)
from understudy.provider import Pace
from understudy.response import Heartbeat
from understudy_openai import OpenAIProvider, streaming, streaming_responses
from understudy_openai.models import Endpoint
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

ALIVE = Heartbeat()
OPENAI = Endpoint(is_openai=True)
ASKED = Request(messages=(Message.user("Hello"),))
THROUGH_RESPONSES = Request(messages=ASKED.messages, options={"openai": {"api": "responses"}})
THROUGH_CHAT = Request(messages=ASKED.messages, options={"openai": {"api": "chat"}})
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": ""}


def _responses(*events: Any, request: Request = ASKED) -> list[list[StreamEvent]]:
    reader = streaming_responses.StreamReader({}, request, OPENAI)
    return [reader.feed(event["type"], json.dumps(event)) for event in events]


def _chat(*chunks: Any, request: Request = ASKED) -> list[list[StreamEvent]]:
    reader = streaming.StreamReader({}, request, OPENAI)
    return [reader.feed("message", chunk if isinstance(chunk, str) else json.dumps(chunk)) for chunk in chunks]


def _chunk(delta: Any, finish_reason: str | None = None) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def _text(delta: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 0, "delta": delta}


# ---- Responses ----


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"type": "keepalive", "sequence_number": 3}, [ALIVE]),
        ({"type": "response.created", "response": {}}, [ALIVE]),
        ({"type": "response.queued", "response": {}}, [ALIVE]),
        ({"type": "response.in_progress", "response": {}}, [ALIVE]),
        ({"type": "response.metadata", "metadata": {}}, [ALIVE]),
        ({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning"}}, [ALIVE]),
        (
            {"type": "response.output_item.added", "output_index": 0, "item": CALL},
            [ToolCallDelta(0, "call_1", "weather", "")],
        ),
        ({"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning"}}, [ALIVE]),
        ({"type": "response.content_part.added", "output_index": 0, "part": {}}, [ALIVE]),
        ({"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": {}}, [ALIVE]),
        ({"type": "response.reasoning_summary_text.delta", "delta": "Hm."}, [ThinkingDelta("Hm.")]),
        ({"type": "response.reasoning_summary_text.delta", "delta": ""}, [ALIVE]),
        ({"type": "response.web_search_call.searching", "output_index": 0}, [ALIVE]),
        (_text("Hi"), [TextDelta("Hi")]),
        (_text(""), [ALIVE]),
        ({"type": "response.of_tomorrow"}, [ALIVE]),
        ({"type": "response.completed", "response": {"status": "completed"}}, []),
    ],
    ids=str,
)
def test_an_event_of_responses_is_a_heartbeat_where_it_brings_nothing(event: Any, told: list[StreamEvent]) -> None:
    assert _responses(event) == [told]


def test_a_piece_of_a_call_without_arguments_is_a_heartbeat() -> None:
    begun = {"type": "response.output_item.added", "output_index": 0, "item": CALL}
    empty = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": ""}
    assert _responses(begun, empty)[1] == [ALIVE]
    first = {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}}]}
    later = {"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}
    assert _chat(_chunk(first), _chunk(later)) == [[ToolCallDelta(0, "call_1", "weather", "")], [ALIVE]]


def test_text_that_is_held_back_shows_a_model_at_work() -> None:
    stopping = Request(messages=ASKED.messages, stop=("END",))
    assert _responses(_text("E"), _text("x"), request=stopping) == [[ALIVE], [TextDelta("Ex")]]
    held = [_chunk({"content": piece}) for piece in ("END", " more")]
    assert _chat(*held, request=stopping) == [[ALIVE], [ALIVE]]


# ---- Chat Completions ----


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        (_chunk({"role": "assistant", "content": "", "refusal": None}), [ALIVE]),
        (_chunk({}), [ALIVE]),
        ({"id": "c1", "choices": []}, [ALIVE]),
        ({"id": "c1"}, [ALIVE]),
        (_chunk({"reasoning_content": ""}), [ALIVE]),
        (_chunk({"reasoning_content": "Hm."}), [ThinkingDelta("Hm.")]),
        (_chunk({"refusal": "No."}), [ALIVE]),
        (_chunk({"content": "Hi"}), [TextDelta("Hi")]),
        (_chunk({}, "stop"), [ALIVE]),
        ({"id": "c1", "choices": [], "usage": {"prompt_tokens": 1}}, [ALIVE]),
        ("[DONE]", []),
    ],
    ids=str,
)
def test_a_chunk_is_a_heartbeat_where_it_brings_nothing(chunk: Any, told: list[StreamEvent]) -> None:
    assert _chat(chunk) == [told]


# ---- through the SDK ----


async def _gathered(provider: OpenAIProvider, request: Request, most: int | None = None) -> list[StreamEvent]:
    told: list[StreamEvent] = []
    events = provider.astream(request)
    async for event in events:
        told.append(event)
        if len(told) == most:
            break
    await events.aclose()  # type: ignore[attr-defined]  # it is a generator
    return told


@pytest.mark.parametrize("asked", [THROUGH_RESPONSES, THROUGH_CHAT], ids=["responses", "chat"])
def test_the_deltas_are_as_they_were(sandbox: Sandbox, provider: OpenAIProvider, asked: Request) -> None:
    sandbox.openai.reply("one two")
    sandbox.openai.reply("one two")
    for told in (list(provider.stream(asked)), asyncio.run(_gathered(provider, asked))):
        assert told[0] == ALIVE
        assert [event for event in told if event != ALIVE][:-1] == [TextDelta("one"), TextDelta(" two")]
        assert isinstance(told[-1], Finish)
        assert told[-1].response.content == "one two"


def test_keepalives_are_heard_for_as_long_as_they_come(sandbox: Sandbox, provider: OpenAIProvider) -> None:
    sandbox.openai.always(faults.heartbeats(every=0.01))
    events = provider.stream(THROUGH_RESPONSES)
    assert list(islice(events, 12)) == [ALIVE] * 12
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert asyncio.run(_gathered(provider, THROUGH_RESPONSES, most=12)) == [ALIVE] * 12


def test_a_caller_of_the_factory_never_sees_a_heartbeat(sandbox: Sandbox) -> None:
    sandbox.openai.next(faults.slow_first_token(0.05, every=0.01))
    with LLMFactory("openai", [], settings=sandbox.environment(), extensions=[]) as factory:
        events = factory.stream_content("Hello", options=dict(THROUGH_RESPONSES.options))
        kinds = {type(event) for event in events}
    assert kinds == {TextDelta, Finish}


# ---- beforehand ----


def _at(url: str | None = None) -> OpenAIProvider:
    where = {} if url is None else {"OPENAI_BASE_URL": url}
    return OpenAIProvider(Settings(environment={"OPENAI_API_KEY": "k", **where}))


@pytest.mark.parametrize(
    ("model", "options", "heartbeat"),
    [
        ("gpt-6-luna", {}, 30.0),
        ("gpt-6-luna", {"service_tier": "priority"}, 30.0),
        ("gpt-6-luna", {"service_tier": "flex"}, None),
        ("gpt-6-luna", {"background": True}, None),
        ("gpt-6-luna", {"api": "chat"}, None),
        ("gpt-4.1", {}, None),
        ("gpt-4.1", {"api": "responses"}, 30.0),
    ],
)
def test_responses_alone_promises_keepalives(model: str, options: dict[str, Any], heartbeat: float | None) -> None:
    asked = Request(messages=ASKED.messages, model=model, max_tokens=100, options={"openai": options})
    assert _at().pace(asked) == Pace(heartbeat=heartbeat)


def test_the_pace_tells_reasoning() -> None:
    assert _at().pace(Request(messages=ASKED.messages, max_tokens=5000)) == Pace(thinks=True, heartbeat=30.0)
    assert _at("https://eu.api.openai.com/v1").pace(ASKED) == Pace(thinks=True, heartbeat=30.0)


@pytest.mark.parametrize(
    "url", ["https://gateway.example/v1", "http://127.0.0.1:4000/v1", "https://x.openai.azure.com/openai/v1"]
)
def test_other_servers_promise_no_keepalives(url: str) -> None:
    tool = Tool(name="weather")  # with it, newer models are asked through Responses there too
    asked = Request(messages=ASKED.messages, tools=(tool,), model="gpt-6-luna", options={"openai": {"effort": "high"}})
    assert _at(url).pace(asked) == Pace(thinks=True)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:1234/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://192.168.1.5:8000/v1", False),
        ("https://api.groq.com/openai/v1", False),
    ],
)
def test_a_server_under_a_name_of_its_own_on_this_machine_is_local(url: str, local: bool, tmp_path: Path) -> None:
    table = f'[providers.mine]\nuses = "openai"\nbase_url = "{url}"\napi_key_env = ""\nmodel = "qwen3"\n'
    (tmp_path / "understudy.toml").write_text(table, "utf-8")
    settings = Settings(environment={}, directory=tmp_path).for_provider("mine")
    assert OpenAIProvider(settings).pace(ASKED) == Pace(local=local)


def test_a_comment_is_a_heartbeat() -> None:
    reader = streaming.EventReader(streaming.StreamReader({}, ASKED, OPENAI), OPENAI)
    assert list(reader.read(b": keepalive\n\n")) == [ALIVE]
    chunk = json.dumps(_chunk({"content": "Hi"}))
    assert list(reader.read(f"data: {chunk}\n\n".encode())) == [TextDelta("Hi")]
