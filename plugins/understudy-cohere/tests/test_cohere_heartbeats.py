"""What tells a model at work from one that is gone: events that bring nothing; Cohere sends no other signs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Finish, Message, Request, StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta
from understudy.provider import Pace
from understudy.response import Heartbeat
from understudy_cohere.streaming import StreamReader

if TYPE_CHECKING:
    from understudy_cohere import CohereProvider
    from understudy_sandbox import Sandbox

ALIVE = Heartbeat()
ASKED = Request(messages=(Message.user("Hello"),))
CALL = {"id": "call_1", "function": {"name": "weather", "arguments": ""}}


def _content(kind: str, **content: Any) -> dict[str, Any]:
    return {"type": f"content-{kind}", "index": 0, "delta": {"message": {"content": content}}}


def _message(kind: str, **message: Any) -> dict[str, Any]:
    return {"type": kind, "index": 0, "delta": {"message": message}}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant"}}}, [ALIVE]),
        (_content("start", type="text", text=""), [ALIVE]),
        (_content("start", type="thinking", thinking=""), [ALIVE]),
        (_content("delta", text=""), [ALIVE]),
        (_content("delta", text="Hi"), [TextDelta("Hi")]),
        (_content("delta", thinking="Hm."), [ThinkingDelta("Hm.")]),
        ({"type": "content-end", "index": 0}, [ALIVE]),
        (_message("tool-plan-delta", tool_plan=""), [ALIVE]),
        (_message("tool-call-start", tool_calls=CALL), [ToolCallDelta(0, "call_1", "weather", "")]),
        (_message("citation-start", citations={}), [ALIVE]),
        ({"type": "event-of-tomorrow"}, [ALIVE]),
        ({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}, []),
    ],
    ids=str,
)
def test_an_event_is_a_heartbeat_where_it_brings_nothing(event: Any, told: list[StreamEvent]) -> None:
    assert StreamReader({}, ASKED, "command-x").feed(event) == told


def test_a_piece_of_a_tool_call_without_arguments_is_a_heartbeat() -> None:
    reader = StreamReader({}, ASKED, "command-x")
    reader.feed(_message("tool-call-start", tool_calls=CALL))
    assert reader.feed(_message("tool-call-delta", tool_calls={"function": {"arguments": ""}})) == [ALIVE]


async def _gathered(provider: CohereProvider) -> list[StreamEvent]:
    return [event async for event in provider.astream(ASKED)]


def test_the_deltas_are_as_they_were(sandbox: Sandbox, provider: CohereProvider) -> None:
    sandbox.cohere.reply("one two")
    sandbox.cohere.reply("one two")
    for told in (list(provider.stream(ASKED)), asyncio.run(_gathered(provider))):
        assert told[0] == ALIVE  # message-start
        assert [event for event in told if event != ALIVE][:-1] == [TextDelta("one"), TextDelta(" two")]
        assert isinstance(told[-1], Finish)
        assert told[-1].response.content == "one two"


def test_cohere_sends_no_heartbeats_that_could_be_relied_on(provider: CohereProvider) -> None:
    assert provider.pace(ASKED) == Pace()
    thinking = Request(messages=ASKED.messages, model="command-a-reasoning-08-2025", max_tokens=20_000)
    assert provider.pace(thinking) == Pace(thinks=True)
