"""What tells a model at work from one that is gone: chunks that bring nothing; Google sends no other signs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Finish, Message, Request, StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta
from understudy.provider import Pace
from understudy.response import Heartbeat
from understudy_gemini_wire.chunks import ChunkReader
from understudy_gemini_wire.streaming import StreamReader
from understudy_gemini_wire.wire import Asked

if TYPE_CHECKING:
    from understudy_gemini import GeminiProvider
    from understudy_sandbox import Sandbox

ALIVE = Heartbeat()
ASKED = Request(messages=(Message.user("Hello"),), model="gemini-3.8-flash")


def _chunk(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [*parts], "role": "model"}, "index": 0, **fields}]}


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        (_chunk({"text": "", "thoughtSignature": "c2ln"}), [ALIVE]),
        (_chunk({"thoughtSignature": "c2ln"}), [ALIVE]),
        (_chunk({"text": ""}), [ALIVE]),
        (_chunk({"text": "", "thought": True}), [ALIVE]),
        (_chunk(), [ALIVE]),
        ({"candidates": [{"index": 0}]}, [ALIVE]),
        ({"candidates": []}, [ALIVE]),
        ({"usageMetadata": {"promptTokenCount": 3}}, [ALIVE]),
        (_chunk({"text": "Hm.", "thought": True}), [ThinkingDelta("Hm.")]),
        (_chunk({"text": "Hi"}, {"text": "", "thoughtSignature": "c2ln"}), [TextDelta("Hi")]),
        (_chunk({"functionCall": {"name": "f", "id": "1"}}), [ToolCallDelta(0, "1", "f", "{}")]),
    ],
    ids=str,
)
def test_a_chunk_is_a_heartbeat_where_it_brings_nothing(chunk: Any, told: list[StreamEvent]) -> None:
    assert StreamReader(ChunkReader(), {}, Asked(ASKED, "gemini", "m")).feed(chunk) == told


def test_a_heartbeat_gives_the_caller_nothing() -> None:
    reader = StreamReader(ChunkReader(), {}, Asked(ASKED, "gemini", "m"))
    reader.feed(_chunk({"text": "", "thoughtSignature": "c2ln"}))
    assert not reader._given


async def _gathered(provider: GeminiProvider) -> list[StreamEvent]:
    return [event async for event in provider.astream(ASKED)]


def test_the_deltas_are_as_they_were(sandbox: Sandbox, provider: GeminiProvider) -> None:
    sandbox.gemini.reply("one two")
    sandbox.gemini.reply("one two")
    for told in (list(provider.stream(ASKED)), asyncio.run(_gathered(provider))):
        assert told[:-1] == [TextDelta("one"), TextDelta(" two"), ALIVE]  # of the chunk that only ends it
        assert isinstance(told[-1], Finish)
        assert told[-1].response.content == "one two"


def test_google_sends_no_heartbeats_that_could_be_relied_on(provider: GeminiProvider) -> None:
    assert provider.pace(ASKED) == Pace(thinks=True)
    assert provider.pace(Request(messages=ASKED.messages, model="gemini-3.8-flash", max_tokens=100)) == Pace()


def test_thoughts_are_not_asked_for_unless_the_caller_does(sandbox: Sandbox, provider: GeminiProvider) -> None:
    provider.generate(ASKED)
    list(provider.stream(ASKED))
    assert ["includeThoughts" in str(request.json) for request in sandbox.gemini.requests] == [False, False]
