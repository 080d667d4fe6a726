"""What tells a model at work from one that is gone: heartbeats in a stream, and how often Anthropic sends them."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    File,
    Finish,
    Image,
    LLMFactory,
    Message,
    Request,
    Settings,
    StreamEvent,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)
from understudy.errors import MalformedResponse, Overloaded, ServerError
from understudy.provider import Pace
from understudy.response import Heartbeat
from understudy_claude import ClaudeProvider
from understudy_claude.models import LONG_PROMPT
from understudy_claude.streaming import EventReader, StreamReader
from understudy_claude.wire import Asked
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

ALIVE = Heartbeat()
ASKED = Request(messages=(Message.user("Hello"),))
THINKING = Request(messages=ASKED.messages, max_tokens=20_000)  # so long an answer is thought about
STARTED = {"type": "message_start", "message": {"id": "msg_1", "content": [], "stop_reason": None}}
BEGUN = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}


def _delta(**delta: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"type": "ping"}, [ALIVE]),
        (STARTED, [ALIVE]),
        ({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}, [ALIVE]),
        (_delta(type="thinking_delta", thinking=""), [ALIVE]),
        (_delta(type="thinking_delta", thinking="Hm."), [ThinkingDelta("Hm.")]),
        (_delta(type="signature_delta", signature="c2ln"), [ALIVE]),
        (_delta(type="text_delta", text=""), [ALIVE]),
        (_delta(type="text_delta", text="Hi"), [TextDelta("Hi")]),
        (_delta(type="delta_of_tomorrow"), [ALIVE]),
        (
            {"type": "content_block_start", "index": 2, "content_block": CALL},
            [ToolCallDelta(0, "toolu_1", "weather", "")],
        ),
        ({"type": "content_block_stop", "index": 0}, [ALIVE]),
        ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}, [ALIVE]),
        ({"type": "event_of_tomorrow"}, [ALIVE]),
        ({"type": "message_stop"}, []),
    ],
    ids=str,
)
def test_an_event_is_a_heartbeat_where_it_brings_nothing(event: Any, told: list[StreamEvent]) -> None:
    reader = StreamReader({}, Asked(ASKED))
    for before in (STARTED, BEGUN):
        reader.feed(before)
    assert reader.feed(event) == told


def test_a_piece_of_a_tool_call_without_arguments_is_a_heartbeat() -> None:
    reader = StreamReader({}, Asked(ASKED))
    reader.feed({"type": "content_block_start", "index": 0, "content_block": CALL})
    assert reader.feed(_delta(type="input_json_delta", partial_json="")) == [ALIVE]


# ---- bytes ----

WIRE = (
    'event: message_start\ndata: {"type": "message_start"}\n\n'
    ": a comment\n\n"
    'event: ping\r\ndata: {"type": "ping"}\r\n\r\n'
    "event: ping\n\n"
    'event: content_block_stop\nid: 7\ndata: {"index":\ndata:  0}\n\n'
    'data: {"type": "text", "text": "☕\\u2028"}\n\n'
    "data: {}\n\n"
    "event: ping\ndata: {}\n\n"
    'event: cut\ndata: {"type": "cut"}'
).encode()
READ = [
    {"type": "message_start"},
    {"type": "comment"},  # of a gateway's: a sign of life
    {"type": "comment"},  # a ping
    {"type": "comment"},
    {"type": "content_block_stop", "index": 0},
    {"type": "text", "text": "☕\u2028"},
    {"type": "comment"},  # what has no type at all says nothing
    {"type": "comment"},
]


@pytest.mark.parametrize("size", [1, 2, 7, len(WIRE)])
def test_bytes_become_events_wherever_they_are_cut(size: int) -> None:
    reader = EventReader({})
    assert [event for at in range(0, len(WIRE), size) for event in reader.feed(WIRE[at : at + size])] == READ
    assert list(reader.end()) == [{"type": "cut"}]


def test_the_end_of_a_stream_may_lack_its_blank_line() -> None:
    *lines, last = b'event: message_start\ndata: {"message": {}}\n\nevent: message_stop\ndata: {}'.split(b"\n")
    for end in (last, b'data: {"ty'):
        reader = StreamReader({}, Asked(ASKED))
        list(reader.read(b"\n".join([*lines, end])))
        with pytest.raises(StreamInterrupted, match="without message_stop"):  # no stop_reason came
            list(reader.end())
        assert reader.ended is (end == last)


def test_an_event_that_is_no_json_is_malformed_where_it_may_have_held_some_of_the_answer() -> None:
    for data in (b"event: message_start\ndata: {oops}\n\n", b"data: {oops}\n\n", b"event: x\ndata: [1]\n\n"):
        with pytest.raises(MalformedResponse, match="may have held some of the answer"):
            list(StreamReader({}, Asked(ASKED)).read(data))


@pytest.mark.parametrize(
    "data",
    [
        b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
        b'event: error\ndata: {"error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
    ],
)
def test_an_error_among_events_is_its_typed_failure(data: bytes) -> None:
    with pytest.raises(Overloaded) as caught:
        list(StreamReader({"request-id": "req_1"}, Asked(ASKED)).read(data))
    assert caught.value.request_id == "req_1"


def test_an_error_that_is_no_json_is_a_failure_with_its_words() -> None:
    with pytest.raises(ServerError, match="upstream gone") as caught:
        list(StreamReader({"request-id": "req_1"}, Asked(ASKED)).read(b"event: error\ndata: upstream gone\n\n"))
    assert caught.value.request_id == "req_1"


# ---- through the SDK ----


async def _gathered(provider: ClaudeProvider, request: Request, most: int | None = None) -> list[StreamEvent]:
    told: list[StreamEvent] = []
    events = provider.astream(request)
    async for event in events:
        told.append(event)
        if len(told) == most:
            break
    await events.aclose()  # type: ignore[attr-defined]  # it is a generator
    return told


def test_pings_come_through_the_sdk_and_the_deltas_are_as_they_were(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    sandbox.claude.reply("one two")
    sandbox.claude.reply("one two")
    for told in (list(provider.stream(ASKED)), asyncio.run(_gathered(provider, ASKED))):
        assert told[:3] == [ALIVE] * 3  # message_start, content_block_start, and the ping after it
        assert [event for event in told if event != ALIVE][:-1] == [TextDelta("one"), TextDelta(" two")]
        assert isinstance(told[-1], Finish)
        assert told[-1].response.content == "one two"


def test_a_vendor_that_only_pings_is_heard_for_as_long_as_it_does(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    sandbox.claude.always(faults.heartbeats(every=0.01))
    events = provider.stream(THINKING)
    assert list(islice(events, 8)) == [ALIVE] * 8
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert asyncio.run(_gathered(provider, THINKING, most=8)) == [ALIVE] * 8


def test_a_caller_of_the_factory_never_sees_a_heartbeat(sandbox: Sandbox, factory: LLMFactory) -> None:
    sandbox.claude.next(faults.slow_first_token(0.05, every=0.01))
    kinds = {type(event) for event in factory.stream_content("Hello")}
    assert kinds == {TextDelta, Finish}


# ---- beforehand ----


def _at(url: str | None) -> ClaudeProvider:
    where = {} if url is None else {"ANTHROPIC_BASE_URL": url}
    return ClaudeProvider(Settings(environment={"ANTHROPIC_API_KEY": "k", **where}))


def test_the_pace_tells_thinking_and_pings() -> None:
    provider = _at(None)
    assert provider.pace(THINKING) == Pace(thinks=True, heartbeat=30.0)
    short = Request(messages=ASKED.messages, max_tokens=1024)
    assert provider.pace(short) == Pace(thinks=False, heartbeat=30.0)


@pytest.mark.parametrize(
    "url", ["https://gateway.example", "http://127.0.0.1:4000", "https://gateway.example/anthropic"]
)
def test_a_gateway_promises_no_pings(url: str) -> None:
    assert _at(url).pace(THINKING) == Pace(thinks=True)


@pytest.mark.parametrize(
    ("parts", "heartbeat"),
    [
        ((Text("x" * 4 * (LONG_PROMPT - 10)),), 30.0),
        ((Text("x" * 4 * (LONG_PROMPT + 10)),), None),
        ((Text("語" * 2 * LONG_PROMPT),), None),
        ((Image(url="https://example.com/cat.png"),), 30.0),
        ((File(data=b"%PDF", media_type="application/pdf"),), 30.0),
        ((File(data=b"x" * 5 * LONG_PROMPT, media_type="application/pdf"),), None),
        ((File(url="https://example.com/all.pdf", media_type="application/pdf"),), None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_prompt_that_takes_long_to_be_read_is_promised_no_pings(parts: Any, heartbeat: float | None) -> None:
    assert _at(None).pace(Request(messages=(Message("user", parts),))).heartbeat == heartbeat


def test_all_that_is_read_counts() -> None:
    half = "x" * 2 * (LONG_PROMPT + 100)
    call, hello = ToolCall(id="1", name="look", arguments={"at": half}), Message.user("Hello")
    result = Message.tool(ToolResult(call_id="1", content=half))
    pictured = Message.tool(ToolResult(call_id="1", content=(Text(half), Text(half))))
    tool = Tool(name="look", parameters={"type": "object", "description": half})
    provider = _at(None)
    assert provider.pace(Request(messages=(hello,), system=half)).heartbeat == 30.0
    for request in (
        Request(messages=(hello,), system=half, tools=(tool,)),
        Request(messages=(hello, Message.assistant(Thinking(half), call), result)),
        Request(messages=(hello, Message.assistant(call), pictured)),
    ):
        assert provider.pace(request).heartbeat is None
