"""Rules of the contract: declared capabilities work, and undeclared ones are refused."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from understudy.errors import AllProvidersFailed, Failure, UnsupportedRequest
from understudy.messages import File, Image, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult
from understudy.provider import ChatProvider
from understudy.response import FinishReason, LLMResponse, TextDelta, ToolCallDelta
from understudy_toolkit.conformance.answer_rules import FOREIGN
from understudy_toolkit.conformance.asking import PROMPT, REQUEST, Way, finish_of, thoughts_of
from understudy_toolkit.conformance.setup import ContractSetup

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="get_weather", description="Tells the weather of a city.", parameters=CITY)
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE = Image(data=PIXEL, media_type="image/png")
PAPER = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
FILE = File(data=PAPER, media_type="application/pdf", name="programme.pdf")
WITH_TOOLS = replace(REQUEST, messages=(Message.user("Use get_weather for Oslo, please."),), tools=(WEATHER,))
WITH_SCHEMA = replace(REQUEST, output_schema=CITY)
SILENCE = 5.0  # seconds of it, in which a free event loop turns many times on any machine
TURNS = 20
ATTEMPTS = 5  # the best of them counts: a busy machine holds up some, and a provider that blocks holds up each
HELD_UP = 0.04  # seconds a piece
TICK = 0.005  # seconds

# What each capability lets a request have.
NEEDS: Mapping[str, Request] = {
    "tools": WITH_TOOLS,
    "images": replace(REQUEST, messages=(Message.user("What is this?", IMAGE),)),
    "files": replace(REQUEST, messages=(Message.user("What is this?", FILE),)),
    "output_schema": WITH_SCHEMA,
}


class CapabilityRules(ContractSetup):
    """Declared capabilities work."""

    def test_what_it_does_not_take_is_not_asked_of_it(self, provider: ChatProvider) -> None:
        off = {name: asked for name, asked in NEEDS.items() if not getattr(provider.capabilities, name)}
        if not off:
            pytest.skip("every capability is on")
        for name, asked in off.items():
            before = self.request_count()
            with self.factory() as factory:
                response = factory.generate_content(
                    asked.messages, tools=asked.tools, output_schema=asked.output_schema, max_retries=0
                )
            failed = response.failure
            assert isinstance(failed, AllProvidersFailed), f"expected {name} to be refused, found {response!r:.200}"
            assert isinstance(failed.failures[0], UnsupportedRequest), (
                f"expected a target without {name} to be passed over, found {failed.failures[0]!r}; leave "
                "Capabilities.lacking as it is"
            )
            assert self.request_count() == before, f"expected nothing to be sent that needs {name}"

    def test_tools_are_called_and_their_results_taken(self, ask: Way, provider: ChatProvider) -> None:
        self.needs(provider, "tools")
        self.arrange("tool_call")
        response = ask(provider, WITH_TOOLS)
        _check_calls(response)
        self.arrange("text")
        results = Message.tool(
            *(ToolResult(call_id=c.id, content="rain-in-Oslo", name=c.name) for c in response.tool_calls)
        )
        turns = (*WITH_TOOLS.messages, response.message, results)
        answer = ask(provider, replace(WITH_TOOLS, messages=turns))
        assert answer.content.strip(), "expected an answer in text once the tool has answered, found none"
        sent = self.received()
        assert sent is None or "rain-in-Oslo" in sent, (
            "expected the tool's result to be sent to the vendor, found it left out"
        )

    def test_tool_calls_are_streamed(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.needs(provider, "tools")
        self.arrange("tool_call")
        events = ask_stream.events(provider, WITH_TOOLS)
        calls = finish_of(ask_stream.name, events).response.tool_calls
        told: dict[int, list[ToolCallDelta]] = {}
        for event in events:
            if isinstance(event, ToolCallDelta):
                told.setdefault(event.index, []).append(event)
        if not told and not provider.capabilities.streaming:
            pytest.skip("capabilities.streaming is off, and a stream in one piece may leave tool calls to Finish")
        assert sorted(told) == list(range(len(calls))), (
            f"expected a ToolCallDelta with index 0 to {len(calls) - 1} for each call in Finish, found the indexes "
            f"{sorted(told)}"
        )
        for index, call in enumerate(calls):
            pieces = "".join(delta.arguments for delta in told[index])
            found = (told[index][0].id, told[index][0].name, json.loads(pieces or "{}"))
            assert found == (call.id, call.name, dict(call.arguments)), (
                f"expected the pieces of a tool call to be the call in Finish, {call!r}, found {found!r}"
            )

    def test_tool_calls_of_others_are_taken(self, ask: Way, provider: ChatProvider) -> None:
        self.needs(provider, "tools")
        self.arrange("text")
        identifier = "call|of.somebody:else/1"
        call = ToolCall(id=identifier, name="get_weather", arguments={"city": "Oslo"}, provider_data=FOREIGN)
        turns = (
            *WITH_TOOLS.messages,
            Message("assistant", (Thinking("foreign-thought", FOREIGN), Text("Let me look."), call)),
            Message.tool(ToolResult(call_id=identifier, content="rain-in-Oslo", name="get_weather")),
        )
        assert ask(provider, replace(WITH_TOOLS, messages=turns)).success, (
            "expected a tool call that another provider made to be taken, with whatever id it has"
        )
        assert "foreign-" not in (self.received() or ""), (
            "expected provider_data of others to be left out, found it sent"
        )

    def test_images_are_sent(self, ask: Way, provider: ChatProvider) -> None:
        self._attachment_is_sent(ask, provider, "images", PIXEL)

    def test_files_are_sent(self, ask: Way, provider: ChatProvider) -> None:
        self._attachment_is_sent(ask, provider, "files", PAPER)

    def _attachment_is_sent(self, ask: Way, provider: ChatProvider, capability: str, data: bytes) -> None:
        self.needs(provider, capability)
        self.arrange("text")
        assert ask(provider, NEEDS[capability]).success
        sent = self.received()
        if sent is None:
            return
        standard, safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
        # JSON may write a slash as \\/, and leave the padding out
        there = any(text.rstrip("=") in sent.replace("\\/", "/") for text in (standard, safe))
        assert there, (
            f"expected the bytes to be sent in base64 (capabilities.{capability} is on), found them left out; send "
            f"them, or set capabilities.{capability} to False so that another provider is asked"
        )

    def test_an_output_schema_is_followed(self, ask: Way, provider: ChatProvider) -> None:
        self.needs(provider, "output_schema")
        self.arrange("json")
        response = ask(provider, WITH_SCHEMA)
        assert isinstance(response.structured, dict), (
            f"expected the answer parsed in `structured`, found {response.structured!r} beside the content "
            f"{response.content!r:.100}; fill it with understudy.structured_output(request, text, finish_reason)"
        )
        assert json.loads(response.content) == response.structured, (
            f"expected `structured` to be `content` parsed, found {response.structured!r} and {response.content!r:.200}"
        )
        sent = self.received()
        assert sent is None or '"city"' in sent.replace('\\"', '"'), (
            "expected the schema to be sent to the vendor, found it left out"
        )

    def test_a_begun_answer_is_gone_on_with(self, ask: Way, provider: ChatProvider) -> None:
        self.needs(provider, "prefill")
        self.arrange("text")
        whole = ask(provider, REQUEST).content
        words = whole.split(" ")
        begun = " ".join([*words[: max(1, len(words) // 2)], ""])  # with a space at its end, which some vendors refuse
        self.arrange("continuation")
        rest = ask(provider, replace(REQUEST, messages=(*REQUEST.messages, Message.assistant(begun)))).content
        sent = self.received() or ""
        forms = [json.dumps(begun.rstrip(), ensure_ascii=ascii)[1:-1] for ascii in (True, False)]
        assert not sent or any(sent.rfind(form) > sent.find(PROMPT) for form in forms), (
            f"expected the begun answer to be sent (capabilities.prefill is on), found it left out of {sent!r:.300}; "
            "send it last, or set capabilities.prefill to False"
        )
        assert not rest.startswith(begun.rstrip()), (
            f"expected only what follows {begun!r:.100}, found it said again: {rest!r:.200}; an answer that was cut "
            "would have it twice: leave it out, or set capabilities.prefill to False"
        )
        assert PROMPT not in whole or begun + rest == whole, (
            f"expected {whole!r} once the rest is joined to {begun!r}, found {begun + rest!r}"
        )

    def test_thinking_is_shown_and_kept(self, ask: Way, provider: ChatProvider) -> None:
        self.needs(provider, "thinking")
        self.arrange("thinking")
        asked = replace(REQUEST, options={self.name: self.thinking_options}, max_tokens=4096)
        response = ask(provider, asked)
        assert any(isinstance(part, Thinking) for part in response.parts), (
            f"expected a Thinking part (capabilities.thinking is on), found {response.parts!r:.200}; where the model "
            "has to be asked for it, say how in `thinking_options`"
        )
        thought, spoken = response.thinking, response.content
        assert not thought.strip() or thought not in spoken, "expected thinking apart from the text, found it in both"
        self.arrange("text")
        turns = (*asked.messages, response.message, Message.user("And then?"))
        assert ask(provider, replace(asked, messages=turns)).success, (
            "expected the model's own thinking to be taken back in the next turn"
        )
        sent = self.received()
        lost = [text for text in _bound(response) if sent is not None and json.dumps(text)[1:-1] not in sent]
        assert not lost, (
            f"expected what the vendor bound to its thinking (in provider_data[{self.name!r}]) to come back to it, "
            f"found it left out: {lost!r:.200}"
        )

    def test_thinking_is_streamed(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.needs(provider, "thinking")
        self.needs(provider, "streaming")
        self.arrange("thinking")
        asked = replace(REQUEST, options={self.name: self.thinking_options}, max_tokens=4096)
        events = ask_stream.events(provider, asked)
        told, whole = thoughts_of(events), finish_of(ask_stream.name, events).response.thinking
        assert told == whole, (
            f"expected the ThinkingDeltas, joined, to be the thinking in Finish, found {told!r:.100} and {whole!r:.100}"
        )

    def test_a_stream_comes_piece_by_piece(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.needs(provider, "streaming")
        self.arrange("text")
        pieces = [event.text for event in ask_stream.events(provider, REQUEST) if isinstance(event, TextDelta)]
        assert len(pieces) > 1, (
            f"expected more than one TextDelta (capabilities.streaming is on), found {pieces!r:.200}; let a healthy "
            "stream of this test have several, or set capabilities.streaming to False"
        )
        self.arrange("stall")
        events: list[Any] = []
        with pytest.raises(Failure):
            ask_stream.events(provider, replace(REQUEST, timeout=0.3), events)
        assert any(isinstance(event, TextDelta) for event in events), (
            "expected the first piece as soon as the vendor has sent it, found none while the vendor keeps silent "
            "after half of its answer; pass each piece on instead of reading the whole stream first"
        )

    def test_async_calls_leave_the_event_loop_free(self, provider: ChatProvider) -> None:
        self.needs(provider, "native_async")
        inherited = [
            name for name in ("agenerate", "astream") if getattr(type(provider), name) is getattr(ChatProvider, name)
        ]
        assert not inherited, (
            f"expected {' and '.join(inherited)} of your own (capabilities.native_async is on), found ChatProvider's, "
            "which runs in a thread; set capabilities.native_async to False, or write it"
        )
        self.arrange("black_hole")

        async def turns_during_a_call() -> int:
            turns = 0
            call = asyncio.ensure_future(provider.agenerate(replace(REQUEST, timeout=SILENCE)))
            while not call.done() and turns < TURNS:
                turns += 1
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.wait([call])
            return turns

        turns = asyncio.run(turns_during_a_call())
        assert turns == TURNS, (
            f"expected other tasks to run while agenerate() waits {SILENCE:g} s for a vendor that keeps silent, found "
            f"the event loop held up (it turned {turns} times); await the SDK's async client, or set "
            "capabilities.native_async to False"
        )

    def test_streams_leave_the_event_loop_free(self, provider: ChatProvider) -> None:
        self.needs(provider, "native_async")
        self.arrange("text")
        held = min(self._held_up(provider) for _ in range(ATTEMPTS))
        assert held < HELD_UP, (
            f"expected other tasks to run between the pieces of astream(), found the event loop held up for "
            f"{held * 1000:.0f} ms a piece at the best of {ATTEMPTS} times; do not sleep or wait on the event loop"
        )

    def _held_up(self, provider: ChatProvider) -> float:
        """Return for how many seconds a piece of a stream holds up the event loop, beyond a tick's own time."""

        async def read() -> float:
            late, pieces = 0.0, 0

            async def tick() -> None:
                nonlocal late
                while True:
                    due = time.monotonic() + TICK
                    await asyncio.sleep(TICK)
                    late += time.monotonic() - due

            ticking = asyncio.ensure_future(tick())
            await asyncio.sleep(0)
            stream: Any = provider.astream(REQUEST)
            async with aclosing(stream):
                async for _ in stream:
                    pieces += 1
            await asyncio.sleep(2 * TICK)
            ticking.cancel()
            return late / max(pieces, 1)

        return asyncio.run(read())


def _check_calls(response: LLMResponse) -> None:
    calls = response.tool_calls
    assert calls, f"expected a ToolCall among `parts` (capabilities.tools is on), found {response.parts!r:.200}"
    for call in calls:
        assert call.name == "get_weather", f"expected a call of the tool that was offered, found {call.name!r}"
        assert call.id, f"expected an id in every tool call, found {call!r}; make one where the vendor gives none"
        assert isinstance(call.arguments, Mapping), (
            f"expected a tool call's arguments as a mapping, found {call.arguments!r}; parse the vendor's JSON"
        )
    ids = [call.id for call in calls]
    assert len(set(ids)) == len(ids), f"expected ids that differ, found {ids}"
    assert response.finish_reason is FinishReason.TOOL_CALLS, (
        f"expected finish_reason TOOL_CALLS from an answer that calls a tool, found {response.finish_reason!r}"
    )


def _bound(response: LLMResponse) -> list[str]:
    return [text for part in response.parts if isinstance(part, Thinking) for text in _texts(part.provider_data)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str) and len(value) >= 12:
        yield value
