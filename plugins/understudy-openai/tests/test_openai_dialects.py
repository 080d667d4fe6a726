"""What servers that speak OpenAI's API were reported to do otherwise: each form over the wire, with its report.

Reports are named by their repository and number, and were read on 2026-12-01. Refusals stand in dialects.jsonl, a line
for each; those of earlier reports in refusals.jsonl.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    LLMFactory,
    LLMResponse,
    Message,
    Settings,
    StreamInterrupted,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
)
from understudy.testing import ScriptedProvider
from understudy_openai import OpenAIProvider
from understudy_toolkit.conformance import FaultServer, Reply
from understudy_toolkit.refused import forget

if TYPE_CHECKING:
    from understudy_toolkit.conformance.fault_server import ReceivedRequest

Json = dict[str, Any]
WAYS = ("sync", "async", "stream", "astream")
PLAIN, STREAMED = WAYS[:2], WAYS[2:]
TOOL = Tool(name="weather", description="d", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
ROME, OSLO = ("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})
COUNTED = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server that answers as it is told to; nothing is known of it."""
    forget()
    with FaultServer(lambda request: Reply(b"")) as made:
        yield made


def ask(server: FaultServer, lane: str, how: str, prompt: Any = "Hello", **asked: Any) -> LLMResponse:
    """Ask the server, and another provider after it, in one of the four ways."""
    settings = {"OPENAI_API_KEY": "not-a-real-key", "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_MODEL": "some-model"}
    provider = OpenAIProvider(Settings(environment={**settings, "OPENAI_TRANSPORT": lane}))
    asked = {"temperature": None, "max_retries": 0, "tools": [TOOL], **asked}
    backup = ScriptedProvider("backup", ["the backup's"], capabilities=provider.capabilities)

    async def run(factory: LLMFactory) -> LLMResponse:
        if how == "async":
            return await factory.agenerate_content(prompt, **asked)
        return _told([event async for event in factory.astream_content(prompt, **asked)])

    with LLMFactory(provider, backup, settings={}, extensions=[], policy="eager") as factory:
        if how == "sync":
            return factory.generate_content(prompt, **asked)
        if how == "stream":
            return _told(list(factory.stream_content(prompt, **asked)))
        return asyncio.run(run(factory))


def _told(events: list[Any]) -> LLMResponse:
    """Return a stream's answer; its pieces are all of the text."""
    response: LLMResponse = events[-1].response
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == response.content
    return response


def refused(message: str, **fields: Any) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}}


# The report, status and body of a refusal; the failure that it is, and how the same model may answer after all.
REFUSALS = [json.loads(line) for line in (Path(__file__).parent / "dialects.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("how", ["sync", "astream"])
def test_each_reported_refusal_is_typed_and_the_next_target_is_asked(server: FaultServer, lane: str, how: str) -> None:
    wrong = []
    for row in REFUSALS:
        forget()
        server.answer = lambda request, row=row: Reply(row["body"], row["status"])
        response = ask(server, lane, how)
        failure: Any = response.attempts[0].failure
        told = (type(failure).__name__, failure.adaptation)
        answered = response.provider_name == "backup" or row["kind"] == "ContentBlocked"
        expected = (row["kind"], row.get("adaptation"))
        wrong += [(row["report"], told, response.provider_name)] if told != expected or not answered else []
    assert not wrong


def follows(body: Json, first: str, second: str) -> bool:
    roles = [message["role"] for message in body["messages"]]
    return (first, second) in itertools.pairwise(roles)


CALL = ToolCall(id="call_1", name="weather", arguments={"city": "Rome"})
RESULT = Message.tool(ToolResult(call_id="call_1", name="weather", content="cold"))
REDIRECTED = [Message.user("Rome?"), Message("assistant", (CALL,)), RESULT, Message.user("No, Oslo.")]
TWICE = [Message.user("Hello"), Message.assistant("One."), Message.assistant("Two.")]
# A refusal, when the server says so, what is asked, which field the warning names, and whether it is remembered.
ADAPTED: list[tuple[str, Callable[[Json], bool], Json, str | None, bool]] = [
    (
        "datapizza-labs/datapizza-ai#98",
        lambda body: follows(body, "tool", "user"),
        {"prompt": REDIRECTED},
        "messages",
        True,
    ),
    ("HKUDS/nanobot#2376", lambda body: follows(body, "assistant", "assistant"), {"prompt": TWICE}, None, True),
    (
        "EatWorld/UmiOCR-AI-OCR-Plugin#39",
        *(
            lambda body: "enable_thinking" in body,
            {"options": {"openai": {"enable_thinking": False}}},
            "enable_thinking",
            True,
        ),
    ),
    (
        "temm1e-labs/temm1e#59",
        *(lambda body: body["messages"][0]["role"] == "system", {"system": "Be brief."}, "system", True),
    ),
    (
        "xuanyustudio/LocalMiniDrama#39",
        lambda body: body["max_tokens"] > 12288,
        {"max_tokens": 16384},
        "max_tokens",
        True,
    ),
    (
        "vLLM, which reads no more of the prompt",
        lambda body: body["max_tokens"] > 5000,
        {"max_tokens": 32_768},
        "max_tokens",
        False,
    ),
    ("Codex, as gateways' code has it", lambda body: not body.get("stream"), {}, "stream", True),
]


@pytest.mark.parametrize("how", WAYS)
def test_what_the_refusal_asks_for_is_done_at_once_and_told(server: FaultServer, lane: str, how: str) -> None:
    for report, refuses, asked, setting, lasts in ADAPTED:
        if setting == "stream" and how in STREAMED:
            continue  # nothing is refused
        forget()
        server.requests.clear()
        body = next(row["body"] for row in REFUSALS if row["report"] == report)

        def answer(request: ReceivedRequest, refuses: Any = refuses, body: Any = body) -> Reply:
            if refuses(request.json):
                return Reply(body, 400)
            return stream(HELLO, STOP) if request.json.get("stream") else whole({"content": "Hello"})

        server.answer = answer
        for requests in (2, 3 if lasts else 4):
            response = ask(server, lane, how, **asked)
            told = [warning.setting for warning in response.warnings]
            assert (response.content, told) == ("Hello", [setting] if setting else []), report
            assert len(server.requests) == requests, report


# ---- answers ----


def whole(message: Json | None, finish: Any = "stop", **more: Any) -> Reply:
    return Reply({"id": "c", "model": "m", "choices": [{"message": message, "finish_reason": finish}], **more})


def chunk(delta: Json | None = None, finish: Any = None, **more: Any) -> Json:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def stream(*chunks: Json | str, end: str = "[DONE]") -> Reply:
    return Reply.events(*chunks, *([end] if end else []))


def called(*calls: Json) -> Json:
    return chunk({"tool_calls": list(calls)})


def call(index: Any = 0, name: str | None = None, arguments: Any = None, **more: Any) -> Json:
    told = {"name": name, "arguments": arguments}
    return {"index": index, "type": "function", "function": told, **more}


HELLO, STOP, CALLED = chunk({"role": "assistant", "content": "Hello"}), chunk({}, "stop"), chunk({}, "tool_calls")
FLAT = {"id": "a", "type": "function", "name": "weather", "arguments": '{"city": "Rome"}'}
SPLIT = [
    {"index": 0, "message": {"content": "I look."}, "finish_reason": "tool_calls"},
    {
        "index": 0,
        "message": {"tool_calls": [call(None, "weather", '{"city": "Rome"}', id="a")]},
        "finish_reason": "tool_calls",
    },
]
REASONED = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "text", "text": "Hello"},
]
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
# What to find in an answer: its text, its calls, its thoughts, its tokens, and what its warnings are about.
Found = dict[str, Any]
STREAMS: list[tuple[str, Reply, Found]] = [
    (
        "PowerShell/AIShell#350",
        stream(chunk({"content": "<think>hm</th"}, "null"), chunk({"content": "ink>Hello"}, "null"), STOP),
        {"text": "Hello", "thought": "hm"},
    ),
    (
        "ollama/ollama#4357",
        stream(chunk({"content": "Hel"}, ""), chunk({"content": "lo"}, ""), STOP),
        {"text": "Hello"},
    ),
    (
        "envoyproxy/ai-gateway#2107",
        stream(HELLO, {"choices": [{"index": 0, "finish_reason": "stop"}]}),
        {"text": "Hello"},
    ),
    (
        "vercel/modelfusion#185",
        stream({"id": "", "choices": [], "prompt_filter_results": []}, HELLO, STOP),
        {"text": "Hello"},
    ),
    (
        "dataelement/Clawith#106",
        Reply(b"".join(b"data:%s\n\n" % json.dumps(one).encode() for one in (HELLO, STOP)), 200, "text/event-stream"),
        {"text": "Hello"},
    ),
    (
        "QwenLM's usage on each chunk",
        stream(*({**one, "usage": {**COUNTED, "completion_tokens": n}} for n, one in enumerate((HELLO, HELLO, STOP)))),
        {"text": "HelloHello", "tokens": (3, 2)},
    ),
    (
        "router-for-me/CLIProxyAPI#4053",
        stream({**HELLO, "usage": ZEROS}, {**STOP, "usage": COUNTED}),
        {"text": "Hello", "tokens": (3, 2)},
    ),
    (
        "zeros after the count",
        stream(HELLO, {**STOP, "usage": COUNTED}, {"choices": [], "usage": ZEROS}),
        {"text": "Hello", "tokens": (3, 2)},
    ),
    (
        "mudler/LocalAI#1609",
        stream({**HELLO, "usage": ZEROS}, {**STOP, "usage": ZEROS}),
        {"text": "Hello", "tokens": None},
    ),
    ("openai/openai-agents-js#1474", stream({**HELLO, "usage": COUNTED}, STOP), {"text": "Hello", "tokens": (3, 2)}),
    ("BerriAI/litellm#9700", stream(chunk({"content": REASONED[:1]}), HELLO, STOP), {"text": "Hello", "thought": "hm"}),
    ("blanks in place of no error", stream({**HELLO, "error": {"message": "", "code": ""}}, STOP), {"text": "Hello"}),
    (
        "continuedev/continue#5849",
        stream(
            called(call(0, "wea", "", id="a")),
            called(call(0, "ther")),
            called(call(0, None, '{"city": "Rome"}')),
            CALLED,
        ),
        {"calls": [ROME]},
    ),
    (
        "NousResearch/hermes-agent#11984",
        stream(*(called(call(0, "weather", piece, id="a")) for piece in ('{"ci', 'ty": ', '"Rome"}')), CALLED),
        {"calls": [ROME]},
    ),
    (
        "agno-agi/agno#8880",
        stream(
            called(call(0, "weather", "", id="a")),
            called(call(0, None, '{"city": "Rome"}')),
            called(call(0, "weather", "", id="b")),
            called(call(1, None, '{"city": "Oslo"}')),
            CALLED,
        ),
        {"calls": [ROME, OSLO]},
    ),
    (
        "anomalyco/opencode#24137",
        stream(called(call(0, None, '{"city":', id="a")), called(call(0, "weather", ' "Rome"}')), CALLED),
        {"calls": [ROME]},
    ),
    (
        "chenyme/grok2api#239",
        stream(
            called(call(None, "weather", '{"city": "Rome"}', id="a")),
            called(call(None, "weather", '{"city": "Oslo"}', id="b")),
            STOP,
        ),
        {"calls": [ROME, OSLO]},
    ),
    (
        "googleapis/python-genai#2868",
        stream(called(call(0, "weather", '{"city": "Rome"}', id="a")), STOP),
        {"calls": [ROME]},
    ),
    (
        "earendil-works/pi#2981",
        stream(called(call(0, "weather", '{"city": "Ro')), called(call(0, None, '\n me"}')), CALLED),
        {"calls": [("weather", {"city": "Ro\n me"})]},
    ),
    (
        "a call without its object",
        stream(
            called({"index": 0, **FLAT, "arguments": '{"city":'}), called({"index": 0, "arguments": ' "Rome"}'}), CALLED
        ),
        {"calls": [ROME]},
    ),
]
WHOLE: list[tuple[str, Reply, Found]] = [
    ("zeroclaw-labs/zeroclaw#2136", Reply({"choices": SPLIT}), {"text": "I look.", "calls": [ROME]}),
    ("anomalyco/opencode#43379", whole({"content": "Hello"}, None), {"text": "Hello", "warned": ["finish_reason"]}),
    ("PowerShell/AIShell#350", whole({"content": "Hello"}, "null"), {"text": "Hello", "warned": ["finish_reason"]}),
    ("BerriAI/litellm#9700", whole({"content": REASONED}), {"text": "Hello", "thought": "hm"}),
    ("tidyverse/ellmer#822", whole({"content": [*REASONED[:1], *REASONED]}), {"text": "Hello", "thought": "hmhm"}),
    ("Gitlawb/openclaude#1444", whole({"content": "Hello"}, usage=ZEROS), {"text": "Hello", "tokens": None}),
    (
        "langgenius/dify#2144",
        whole({"content": "Hello"}, usage={**ZEROS, "completion_tokens": 500}),
        {"text": "Hello", "tokens": (0, 500)},
    ),
    ("blanks in place of no error", whole({"content": "Hello"}, error={"message": "", "code": ""}), {"text": "Hello"}),
    (
        "unslothai/unsloth#6570",
        stream(HELLO, {**STOP, "usage": COUNTED}),
        {"text": "Hello", "tokens": (3, 2), "warned": ["stream"]},
    ),
    (
        "decolua/9router#3492",
        Reply(whole({"content": "Hello"}).content + b"\n\ndata: [DONE]\n\n", 200, "text/event-stream"),
        {"text": "Hello"},
    ),
    (
        "MoonshotAI/kimi-cli#1378",
        whole({"tool_calls": [call(None, "weather", '{"city": "Ro\n me"}')]}, "tool_calls"),
        {"calls": [("weather", {"city": "Ro\n me"})]},
    ),
    (
        "a call without its object",
        whole({"content": "I look.", "tool_calls": [FLAT]}),
        {"text": "I look.", "calls": [ROME]},
    ),
    (
        "a call with parameters",
        whole({"tool_calls": [{"function": {"name": "weather", "parameters": {"city": "Rome"}}}]}),
        {"calls": [ROME]},
    ),
]


def said(text: str = "Hello", kind: str = "output_text") -> Json:
    return {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": kind, "text": text}]}


def event(kind: str, **fields: Any) -> Json:
    return {"type": f"response.{kind}", **fields}


def completed(*output: Json, **more: Any) -> Json:
    return event("completed", response={"id": "r", "status": "completed", "output": list(output), **more})


ASKED = {"type": "function_call", "id": "f", "call_id": "a", "name": "weather", "arguments": '{"city": "Rome"}'}
SAY = event("output_text.delta", delta="Hello")
OF_RESPONSES: list[tuple[str, Reply, Found]] = [
    (
        "lemonade-sdk/lemonade#3607",
        stream(
            event("output_item.added", item=said("")), SAY, event("output_item.done", item=said()), completed(said())
        ),
        {"text": "Hello"},
    ),
    (
        "lemonade-sdk/lemonade#3607, a call",
        stream(
            event("output_item.added", item={**ASKED, "arguments": ""}),
            event("function_call_arguments.delta", item_id="f", delta=ASKED["arguments"]),
            event("output_item.done", item=ASKED),
            completed(ASKED),
        ),
        {"calls": [ROME]},
    ),
    (
        "lemonade-sdk/lemonade#3607, a thought",
        stream(
            event("reasoning_summary_part.added"),
            event("reasoning_summary_text.delta", delta="hm"),
            SAY,
            completed({"type": "reasoning", "summary": [{"text": "hm"}]}, said()),
        ),
        {"text": "Hello", "thought": "hm"},
    ),
    (
        "QuantumNous/new-api#4362",
        stream(SAY, event("output_item.done", output_index=0, item=said()), completed()),
        {"text": "Hello"},
    ),
    ("the text on the way alone", stream(SAY, SAY, completed()), {"text": "HelloHello"}),
    (
        "ltmoerdani/opencode-copilot-chat#201",
        stream(
            event("output_text.done", output_index=0, text="Hello"),
            event("output_item.done", output_index=0, item=said()),
            completed(said()),
        ),
        {"text": "Hello"},
    ),
    ("the text at the end alone", stream(completed(said())), {"text": "Hello"}),
    ("a text by its other name", stream(SAY, completed(said(kind="text"))), {"text": "Hello"}),
    (
        "a text without its piece",
        stream(completed({"type": "message", "role": "assistant", "content": "Hello"})),
        {"text": "Hello"},
    ),
    (
        "AStupidBear in diegosouzapw/OmniRoute#11384",
        stream(SAY, completed(said()), {"type": "ping"}, event("keepalive"), end=""),
        {"text": "Hello"},
    ),
    (
        "no count",
        stream(SAY, completed(said(), usage={"input_tokens": 0, "output_tokens": 0})),
        {"text": "Hello", "tokens": None},
    ),
]


def found(response: LLMResponse) -> Found:
    usage = response.usage and (response.usage.input_tokens, response.usage.output_tokens)
    calls = [(one.name, dict(one.arguments)) for one in response.tool_calls]
    warned = [warning.setting for warning in response.warnings]
    told = {"text": response.content, "thought": response.thinking, "tokens": usage, "warned": warned, "calls": calls}
    return {**told, "from": response.provider_name}


@pytest.mark.parametrize("how", WAYS)
def test_each_reported_form_of_an_answer_is_read_whole(server: FaultServer, lane: str, how: str) -> None:
    wrong = []
    tables = [(STREAMS, "chat"), (OF_RESPONSES, "responses")] if how in STREAMED else [(WHOLE, "chat")]
    for table, api in tables:
        for report, reply, expected in table:
            server.answer = lambda request, reply=reply: reply
            told = found(ask(server, lane, how, options={"openai": {"api": api}}))
            expected = {"text": "", "thought": "", "warned": [], "calls": [], "from": "openai", **expected}
            told = told if "tokens" in expected else {name: value for name, value in told.items() if name != "tokens"}
            wrong += [(report, told)] if told != expected else []
    assert not wrong


# How a stream ends that is not whole, after some of it was given; the words that its failure has.
BROKEN: list[tuple[str, tuple[Json | str, ...], str]] = [
    ("anomalyco/opencode#43882", (HELLO,), "without a finish_reason"),
    (
        "usage and [DONE], as QuantumNous/new-api ends whatever happened",
        (HELLO, {"choices": [], "usage": COUNTED}),
        "finish_reason",
    ),
    ("PowerShell/AIShell#350, cut", (chunk({"content": "Hello"}, "null"),), "without a finish_reason"),
    (
        "groq-python, chat_completion_chunk.py",
        (HELLO, {"choices": [], "x_groq": {"error": "over capacity"}}),
        "overloaded: over capacity",
    ),
    (
        "tensorzero/tensorzero#1893",
        (HELLO, refused("Failed to call a function.", code="tool_use_failed"), STOP),
        "Failed to call a function",
    ),
    ("QuantumNous/new-api#7399", (HELLO, refused("busy", code="server_is_overloaded")), "overloaded: busy"),
    ("Cloudflare's errors", (HELLO, {"errors": [{"code": 3040, "message": "busy"}]}), "overloaded: busy"),
    ("a gateway's fault", (HELLO, {"fault": {"faultstring": "quota"}}), "server error: quota"),
    ("an error by its status", (HELLO, {"status": "error", "odd": "thing"}), "server error"),
]


@pytest.mark.parametrize("how", STREAMED)
def test_half_an_answer_is_never_a_whole_one_and_the_servers_words_are_kept(
    server: FaultServer, lane: str, how: str
) -> None:
    for report, chunks, words in BROKEN:
        server.answer = lambda request, chunks=chunks: stream(*chunks)
        with pytest.raises(StreamInterrupted) as caught:
            ask(server, lane, how)
        assert words in str(caught.value), report
        assert caught.value.partial == "Hello", report


NOW = {"date": "Tue, 01 Dec 2026 12:00:00 GMT"}
LIMITED = refused("slow down", code="rate_limit_exceeded")
# When to come back: the report, status, headers and body, and the seconds.
HINTS: list[tuple[str, int, dict[str, str], Any, float]] = [
    (
        "goferito/node-bing-api#34",
        403,
        {},
        {"message": "Out of call volume quota. Quota will be replenished in 22.14:18:12."},
        1_952_292,
    ),
    (
        "Azure's API management",
        403,
        {},
        {"message": "Out of call volume quota. Quota will be replenished in 12:34:56."},
        45_296,
    ),
    ("router-for-me/CLIProxyAPI#1666", 429, {}, refused("x", type="usage_limit_reached", resets_in_seconds=300), 300),
    ("justrach/codegraff2#90", 429, NOW, refused("x", resets_at="2026-12-01T12:01:00Z"), 60),
    ("openai/codex#3257", 429, {}, refused("Try again in 4 days 20 hours 9 minutes."), 418_140),
    ("Azure's milliseconds", 429, {"x-ms-retry-after-ms": "900"}, LIMITED, 0.9),
    (
        "Cerebras",
        429,
        {"x-ratelimit-remaining-requests-day": "0", "x-ratelimit-reset-requests-day": "33011.5"},
        LIMITED,
        33_011.5,
    ),
]


@pytest.mark.parametrize("how", ["sync", "astream"])
def test_when_to_come_back_is_read_from_each_reported_form(server: FaultServer, lane: str, how: str) -> None:
    for report, status, headers, body, seconds in HINTS:
        server.answer = lambda request, told=(body, status, None, headers): Reply(*told)
        failure: Any = ask(server, lane, how).attempts[0].failure
        assert failure.retry_after == pytest.approx(seconds), report
