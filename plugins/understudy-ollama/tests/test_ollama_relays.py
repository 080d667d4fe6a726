"""What servers in front of Ollama answer, calls that its models cannot write, and other vendors' conversations."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Failure, Image, Message, Request, Settings, Tool, ToolCall, ToolResult
from understudy.errors import (
    AuthenticationFailed,
    MalformedResponse,
    RateLimited,
    RequestRefused,
    UnsupportedRequest,
)
from understudy_ollama import OllamaProvider
from understudy_toolkit.conformance import FaultServer, Reply
from understudy_toolkit.pairing import NO_RESULT

if TYPE_CHECKING:
    from conftest import Ask

HELLO = Message.user("Hello")
LOOK = Tool(name="look")
REQUEST = Request(messages=(HELLO,), tools=(LOOK,))
BEGUN = {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": False}
DONE = {"model": "m", "done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2}
WHOLE = {**DONE, "message": BEGUN["message"]}
DATA = b"\x89PNG\xfb\xff\xfe"


def _ask(ask: Ask, lane: str, reply: Reply, request: Request = REQUEST) -> tuple[Any, list[Any]]:
    """Return the answer, and the messages that were sent for it."""
    with FaultServer(lambda received: reply) as server:
        provider = OllamaProvider(Settings(environment={"OLLAMA_HOST": server.url, "OLLAMA_TRANSPORT": lane}))
        try:
            response = ask(provider, request)
        finally:
            provider.close()
        return response, server.requests[-1].json["messages"]


# ollama/ollama#17638, #18563, #14492, #11781, continuedev/continue#10896 (calls that the model wrote badly); gin's and
# nginx' own replies, Open WebUI's and Kong's. Read 2026-12-01.
UNUSABLE = ("error parsing tool call: raw='{\"a\"', err=unexpected end of JSON input", "XML syntax error on line 3: x")
UNUSABLE += ("failed to parse JSON: unexpected end of JSON input", "expected element type <function> but have <x>")
REFUSALS: list[tuple[int, Any, type[Failure], float | None]] = [
    *((500, {"error": words}, MalformedResponse, None) for words in UNUSABLE),
    (500, {"error": "failed to process inputs: image: unknown format"}, UnsupportedRequest, None),
    (400, "400 Bad Request", RequestRefused, None),
    (400, "", RequestRefused, None),
    (404, "404 page not found", RequestRefused, None),
    (405, "<html>Not Allowed</html>", RequestRefused, None),
    (400, {"detail": "No such model here"}, RequestRefused, None),
    (401, {"detail": "Not authenticated"}, AuthenticationFailed, None),
    (404, {"message": "no Route matched with those values"}, RequestRefused, None),
    (429, {"error": "too many requests, try again in 12s"}, RateLimited, 12.0),
]


def test_each_refusal_is_its_failure(ask: Ask, lane: str) -> None:
    for status, body, kind, seconds in REFUSALS:
        with pytest.raises(Failure) as caught:
            _ask(ask, lane, Reply(body, status))
        assert (type(caught.value), caught.value.retry_after) == (kind, seconds), body


def test_a_call_that_cannot_be_read_is_the_models_in_a_stream_too(ask_stream: Ask, lane: str) -> None:
    for line in (*({"error": words} for words in UNUSABLE), {"error parsing tool call": "invalid character 'c'"}):
        with pytest.raises(MalformedResponse):
            _ask(ask_stream, lane, Reply.lines(BEGUN, line))


def test_each_call_has_an_id_of_its_own_and_its_result(ask_whole: Ask, lane: str) -> None:
    """ "Unexpected tool call id d236c80f3 in tool results": continuedev/continue#11756, read 2026-12-01."""
    turns = (
        HELLO,
        Message.assistant(*(ToolCall(id=name, name="look") for name in ("a", "a", "b"))),
        Message.tool(ToolResult(call_id="a", content="one"), ToolResult(call_id="a", content="two")),
        Message.tool(ToolResult(call_id="nobody's", content="four", name="look")),
    )
    response, sent = _ask(ask_whole, lane, Reply(WHOLE), Request(messages=turns, tools=(LOOK,)))
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["a", "a_2", "b"]
    results = [(turn["tool_call_id"], turn["tool_name"], turn["content"]) for turn in sent if turn["role"] == "tool"]
    assert results == [("a", "look", "one"), ("a_2", "look", "two"), ("b", "look", f"Error: {NO_RESULT}")]
    assert (sent[-1]["role"], sent[-1]["content"]) == ("user", "Result of look: four")
    assert [warning.setting for warning in response.warnings] == ["messages"]


@pytest.mark.parametrize("encoded", [base64.b64encode(DATA), base64.urlsafe_b64encode(DATA).rstrip(b"=")])
def test_a_picture_is_whole_in_whatever_base64_it_comes(ask: Ask, lane: str, encoded: bytes) -> None:
    message = {"role": "assistant", "content": "", "images": [encoded.decode()]}
    response, _ = _ask(ask, lane, Reply.lines({**DONE, "message": message}))
    assert response.parts == (Image(data=DATA, media_type="image/png"),)
