"""What gateways and hosts of Claude do besides: their refusals and hints, streams begun twice, odd histories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    Failure,
    FinishReason,
    Image,
    Message,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    errors,
)
from understudy_claude import ClaudeProvider
from understudy_claude.failures import WITHOUT_SAMPLING, WITHOUT_SCHEMAS

if TYPE_CHECKING:
    from conftest import Ask, Server

HELLO = Message.user("Hello")
REQUEST = Request(messages=(HELLO,), max_tokens=1024)
PNG = Image(data=b"\x89PNG", media_type="image/png")


def _typed(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _litellm(message: str, kind: str = "None", code: str = "400") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": "None", "code": code}}


# Read in public reports on 2026-12-01; where each was is beside it.
REFUSALS: list[tuple[int, Any, type[Failure], str | None]] = [
    # BerriAI/litellm#22726, #14144, #18554
    (400, _litellm("Budget has been exceeded! Current cost: 26.1, Max budget: 0.25"), errors.QuotaExhausted, None),
    (429, _litellm("LiteLLM User: x, exceeded budget for model=c", "budget_exceeded"), errors.QuotaExhausted, None),
    (400, _litellm("ExceededBudget: End User=x over budget. Spend=0.1, Budget=0.0"), errors.QuotaExhausted, None),
    (401, _litellm("key not allowed to access model.", "key_model_access_denied"), errors.PermissionDenied, None),
    (400, _litellm("/v1/messages: Invalid model name passed in model=c."), errors.ModelNotFound, None),
    (
        400,
        _litellm("x does not support parameters: ['top_k'], for model=c"),
        errors.UnsupportedRequest,
        WITHOUT_SAMPLING,
    ),
    (
        500,
        _litellm('AnthropicException - {"error":{"type":"overloaded_error","message":"x"}}'),
        errors.Overloaded,
        None,
    ),
    # BerriAI/litellm#22802, ai4s-research/open-science#53; the third in tests of clients
    (
        400,
        {"message": "Malformed input request: #: extraneous key [output_config] is not permitted, please reformat"},
        errors.UnsupportedRequest,
        WITHOUT_SCHEMAS,
    ),
    (
        403,
        {"Message": "Authentication failed: Please make sure your API Key is valid."},
        errors.AuthenticationFailed,
        None,
    ),
    (403, {"Message": "Bearer Token has expired"}, errors.AuthenticationFailed, None),
    # anthropics/claude-code#45048, earendil-works/pi#2943, anthropics/claude-code#13131, #3073
    (400, _typed("You're out of extra usage. Add more at claude.ai/settings/usage"), errors.QuotaExhausted, None),
    (400, _typed("Third-party apps now draw from your extra usage, not your plan"), errors.QuotaExhausted, None),
    (429, _typed("Extra usage is required for long context requests."), errors.RequestTooLarge, None),
    (
        400,
        _typed("messages.0.content.1.image.source.base64.media_type: Input should be 'image/jpeg'"),
        errors.UnsupportedRequest,
        None,
    ),
    # Cloudflare's form: a list
    (
        403,
        {"success": False, "errors": [{"code": 9109, "message": "Invalid access token"}]},
        errors.PermissionDenied,
        None,
    ),
]


def test_each_refusal_is_its_failure(ask: Ask, own: ClaudeProvider, server: Server) -> None:
    for status, body, kind, adaptation in REFUSALS:
        server.answer = lambda asked, answer=(status, body): answer
        with pytest.raises(Failure) as caught:
            ask(own, REQUEST)
        assert (type(caught.value), caught.value.adaptation) == (kind, adaptation), body


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12s"}
LATER = {
    "error": {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED", "details": [RETRY_INFO]}
}


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ([LATER], 12.0),  # Claude on Vertex AI
        (_typed("Please try again in 6m30.5s.", "rate_limit_error"), 390.5),
        (_typed("rate limited, please try again after 7 seconds", "rate_limit_reached_error"), 7.0),  # Moonshot
        (_litellm("No deployments available for selected model, Try again in 60 seconds.", code="429"), 60.0),
        ({"error": {"type": "rate_limit_error", "message": "slow down", "retry_after": 3}}, 3.0),
        (_typed("Too many requests, please wait before trying again.", "rate_limit_error"), None),  # Bedrock
    ],
)
def test_when_to_come_back_is_read_in_the_body(
    ask: Ask, own: ClaudeProvider, server: Server, body: Any, seconds: float | None
) -> None:
    server.answer = lambda asked: (429, body)
    with pytest.raises(errors.RateLimited) as caught:
        ask(own, REQUEST)
    assert caught.value.retry_after == seconds


START = {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 3}}}
OTHER = {**START, "message": {"id": "n", "content": []}}
OPEN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
SAID = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
STOP = {"type": "message_stop"}


# The same beginning many times over: MoonshotAI/Kimi-K2.5#33, BerriAI/litellm#33859; blocks before it:
# router-for-me/CLIProxyAPI#530. Read 2026-12-01.
@pytest.mark.parametrize(
    "events",
    [
        [START, START, START, OPEN, SAID, END, STOP],
        [START, OPEN, START, SAID, START, END, STOP],
        [OTHER, START, OPEN, SAID, END, STOP],
        [OPEN, START, SAID, END, STOP],
    ],
)
def test_a_beginning_that_comes_again_adds_nothing(
    ask_stream: Ask, own: ClaudeProvider, server: Server, events: Any
) -> None:
    server.answer = lambda asked: server.streamed(*events)
    response = ask_stream(own, REQUEST)
    assert response.content == "Hi"
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 2)


def test_another_message_in_the_middle_of_one_is_no_part_of_it(
    ask_stream: Ask, own: ClaudeProvider, server: Server
) -> None:
    server.answer = lambda asked: server.streamed(START, OPEN, SAID, OTHER, OPEN, SAID, END, STOP)
    with pytest.raises(errors.MalformedResponse, match="another message began"):
        ask_stream(own, REQUEST)


def test_an_error_of_googles_in_a_stream_has_its_kind(ask_stream: Ask, own: ClaudeProvider, server: Server) -> None:
    error = [{"error": {"code": 529, "message": "Overloaded", "status": "UNAVAILABLE"}}]
    server.answer = lambda asked: server.streamed(START, OPEN, SAID, f"data: {json.dumps(error)}\n\n")
    with pytest.raises(errors.Overloaded):
        ask_stream(own, REQUEST)


def test_the_summary_of_a_conversation_goes_back_as_it_came(ask: Ask, own: ClaudeProvider, server: Server) -> None:
    block = {"type": "compaction", "content": "They greeted.", "encrypted_content": "x"}
    delta = {**block, "type": "compaction_delta"}
    paused = server.message(block, stop_reason="compaction")
    streamed = server.streamed(
        START,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "compaction", "content": None}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {**END, "delta": {"stop_reason": "compaction"}},
        STOP,
    )
    server.answer = lambda asked: streamed if asked.get("stream") else paused
    response = ask(own, REQUEST)
    assert response.finish_reason is FinishReason.PAUSED
    assert [type(part) for part in response.parts] == [Thinking]
    server.answer = lambda asked: streamed if asked.get("stream") else paused
    ask(own, Request(messages=(HELLO, Message("assistant", response.parts), HELLO)))
    assert server.received[-1]["messages"][1]["content"] == [block]


def test_pictures_of_a_failed_result_stand_after_the_results(
    ask_whole: Ask, own: ClaudeProvider, server: Server
) -> None:
    """'all content must be type "text" if "is_error" is true', in guards of several clients, read 2026-12-01."""
    calls = (ToolCall(id="a", name="look"), ToolCall(id="b", name="look"))
    failed = ToolResult(call_id="a", content=(PNG, Text("broke")), is_error=True)
    results = Message.tool(failed, ToolResult(call_id="b", content=(PNG,)))
    server.answer = lambda asked: server.message({"type": "text", "text": "Hi"})
    ask_whole(own, Request(messages=(HELLO, Message.assistant(*calls), results), tools=(Tool(name="look"),)))
    first, second, picture = server.received[-1]["messages"][2]["content"]
    assert (first["is_error"], first["content"]) == (True, [{"type": "text", "text": "broke"}])
    assert [block["type"] for block in second["content"]] == ["image"]
    assert picture["type"] == "image"


@pytest.mark.parametrize(
    ("made_up", "sent"),
    [
        ("multi_tool_use.parallel", "multi_tool_use_parallel"),
        ("functions.look:0", "functions_look_0"),
        ("7 look", "_7_look"),
        ("", "_"),
        ("x" * 200, "x" * 64),
    ],
)
def test_a_name_that_a_model_made_up_does_not_end_the_conversation(
    ask_whole: Ask, own: ClaudeProvider, server: Server, made_up: str, sent: str
) -> None:
    """'tool_use.name: String should match pattern': strands-agents/harness-sdk#1069, read 2026-12-01."""
    turns = (
        HELLO,
        Message.assistant(ToolCall(id="a", name=made_up)),
        Message.tool(ToolResult(call_id="a", content="?")),
    )
    server.answer = lambda asked: server.message({"type": "text", "text": "Hi"})
    ask_whole(own, Request(messages=turns))
    assert server.received[-1]["messages"][1]["content"][0]["name"] == sent
