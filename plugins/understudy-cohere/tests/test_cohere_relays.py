"""What comes from servers in front of Cohere's models, and what other vendors' conversations hold: over a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from understudy import Failure, Message, Request, Settings, Tool, ToolCall, ToolResult
from understudy.errors import MalformedResponse, RateLimited, RequestRefused, UnsupportedRequest
from understudy_cohere import CohereProvider
from understudy_toolkit.conformance import FaultServer, Reply
from understudy_toolkit.pairing import NO_RESULT

if TYPE_CHECKING:
    from conftest import Ask

HELLO = Message.user("Hello")
LOOK = Tool(name="look")
REQUEST = Request(messages=(HELLO,), tools=(LOOK,))
START = {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}}
SAID = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}}
END = {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}
WHOLE = {
    "id": "c",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
}


def _ask(ask: Ask, lane: str, reply: Reply, request: Request = REQUEST) -> tuple[Any, list[Any]]:
    """Return the answer, and the messages that were sent for it."""
    with FaultServer(lambda received: reply) as server:
        told = {"COHERE_API_KEY": "not-a-real-key", "COHERE_BASE_URL": server.url, "COHERE_TRANSPORT": lane}
        provider = CohereProvider(Settings(environment=told))
        try:
            response = ask(provider, request)
        finally:
            provider.close()
        return response, server.requests[-1].json["messages"]


def _call(index: int, name: str, arguments: str) -> dict[str, Any]:
    call = {"id": name, "type": "function", "function": {"name": "look", "arguments": arguments}}
    return {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}}


def test_calls_with_one_index_are_all_there(ask_stream: Ask, lane: str) -> None:
    end = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}
    response, _ = _ask(ask_stream, lane, Reply.events(START, _call(0, "a", '{"n":1}'), _call(0, "b", '{"n":2}'), end))
    assert [(part.id, dict(part.arguments)) for part in response.parts] == [("a", {"n": 1}), ("b", {"n": 2})]


def test_another_message_in_the_middle_of_one_is_no_part_of_it(ask_stream: Ask, lane: str) -> None:
    again, _ = _ask(ask_stream, lane, Reply.events(START, START, SAID, START, END))
    assert again.content == "Hi"
    with pytest.raises(MalformedResponse, match="another message began"):
        _ask(ask_stream, lane, Reply.events(START, SAID, {**START, "id": "d"}, SAID, END))


@pytest.mark.parametrize(
    ("status", "body", "kind", "seconds"),
    [
        (429, {"message": "rate limit exceeded, please try again in 30 seconds"}, RateLimited, 30.0),
        (429, [{"error": {"message": "slow down", "code": 429, "details": [{"retryDelay": "9s"}]}}], RateLimited, 9.0),
        (400, {"message": "invalid request: this model does not support image inputs"}, UnsupportedRequest, None),
        (400, "oops", RequestRefused, None),
    ],
)
def test_each_refusal_is_its_failure(
    ask: Ask, lane: str, status: int, body: Any, kind: type[Failure], seconds: float | None
) -> None:
    with pytest.raises(Failure) as caught:
        _ask(ask, lane, Reply(body, status))
    assert (type(caught.value), caught.value.retry_after) == (kind, seconds)


def test_an_error_in_a_stream_is_what_its_own_number_says(ask_stream: Ask, lane: str) -> None:
    with pytest.raises(RateLimited):
        _ask(ask_stream, lane, Reply.events(START, {"error": {"message": "too many requests", "code": 429}}))


@pytest.mark.parametrize("field", ["temperature", "k"])
def test_a_field_that_a_host_does_not_know_is_left_out(ask_whole: Ask, lane: str, field: str) -> None:
    told = {"message": f"Malformed input request: extraneous key [{field}] is not permitted"}
    asked = Request(messages=(HELLO,), temperature=0.5, options={"cohere": {"k": 5}})
    with pytest.raises(Failure) as caught:
        _ask(ask_whole, lane, Reply(told, 400), asked)
    assert caught.value.adaptation == f"without {field}"


def test_each_call_has_an_id_of_its_own_and_its_result(ask_whole: Ask, lane: str) -> None:
    """Cohere refuses a call without a result: oracle/langchain-oracle#10, read 2026-12-01."""
    made_up = ToolCall(id="", name="functions.look:0")
    turns = (
        HELLO,
        Message.assistant(ToolCall(id="a", name="look"), ToolCall(id="a", name="look"), made_up),
        Message.user("Well?"),
        Message.tool(ToolResult(call_id="a", content="one"), ToolResult(call_id="a", content="")),
        Message.tool(ToolResult(call_id="nobody's", content="four", name="look")),
    )
    response, sent = _ask(ask_whole, lane, Reply(WHOLE), Request(messages=turns, tools=(LOOK,)))
    calls = [(call["id"], call["function"]["name"]) for call in sent[1]["tool_calls"]]
    assert calls == [("a", "look"), ("a_2", "look"), ("call", "functions_look_0")]
    results = [(turn["tool_call_id"], turn["content"]) for turn in sent if turn["role"] == "tool"]
    assert results == [("a", "one"), ("a_2", "(no output)"), ("call", f"Error: {NO_RESULT}")]
    assert [block["text"] for block in sent[-1]["content"]] == ["Well?", "Result of look: four"]
    assert [warning.setting for warning in response.warnings if warning.setting == "messages"] == ["messages"]
