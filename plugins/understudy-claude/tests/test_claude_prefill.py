"""Begun answers: which models go on from them, what is cut off their end, and what comes again at the start."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import Message, Request, Text, TextDelta, Thinking
from understudy.errors import UnsupportedRequest
from understudy_claude.failures import failure_of_reply
from understudy_claude.models import takes_prefill
from understudy_claude.reply import response_of
from understudy_claude.streaming import StreamReader
from understudy_claude.wire import Asked, request_body

OLD = "claude-haiku-4-5"
SERVER_TOOL = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}


def _request(*parts: Any, **more: Any) -> Request:
    return Request(messages=(Message.user("Hello"), Message("assistant", parts)), **more)


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("claude-haiku-4-5-20251001", True),
        ("claude-opus-4-5", True),
        ("claude-sonnet-4-20250514", True),
        ("anthropic/claude-sonnet-4.5", True),
        ("claude-opus-4-6", False),
        ("claude-sonnet-4-6", False),
        ("claude-haiku-5-5", False),
        ("claude-fable-5", False),
        ("claude-mythos-preview", False),
        ("our-own-model", None),
    ],
)
def test_which_models_go_on(model: str, takes: bool | None) -> None:
    assert takes_prefill(model) is takes


def test_white_space_is_cut_off_the_end_and_nothing_else() -> None:
    body, asked = request_body(_request(Text("Well, "), Text("yes.\n\n"), Text(" ")), OLD)
    assert [block["text"] for block in body["messages"][-1]["content"]] == ["Well, ", "yes."]
    assert asked.warnings == ()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"options": {"claude": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}}, "while it thinks"),
        ({"output_schema": {"type": "array", "items": {"type": "string"}}}, "with an output schema"),
    ],
)
def test_what_does_not_go_with_a_begun_answer(more: dict[str, Any], words: str) -> None:
    request_body(Request(messages=(Message.user("Hello"),), **more), OLD)
    with pytest.raises(UnsupportedRequest, match=words):
        request_body(_request(Text("Well,"), **more), OLD)


def test_a_turn_that_paused_goes_back_to_every_model_as_it_came() -> None:
    body, _ = request_body(_request(Text("Let me look. "), Thinking("", {"claude": SERVER_TOOL})), "claude-sonnet-5-5")
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "Let me look. "}, SERVER_TOOL]


@pytest.mark.parametrize(
    ("begun", "pieces", "rest"),
    [
        ("Well, ", [" yes"], "yes"),
        ("Well,", [" yes"], " yes"),
        ("Well, ", ["yes"], "yes"),
        ("Well,\n\n", ["\n", "\n", "yes"], "yes"),
        ("Well,\n\n", ["\n- yes"], "- yes"),
        ("Well, ", ["  yes"], " yes"),
        ("Well, ", ["\n yes"], "\n yes"),
    ],
)
def test_what_was_cut_off_does_not_come_twice(begun: str, pieces: list[str], rest: str) -> None:
    request = _request(Text(begun))
    reader = StreamReader({}, Asked(request))
    message = {"type": "message", "role": "assistant", "model": OLD, "content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    told = [piece.text for event in events for piece in reader.feed(event) if isinstance(piece, TextDelta)]
    whole = {**message, "content": [{"type": "text", "text": "".join(pieces)}], "stop_reason": "end_turn"}
    assert "".join(told) == reader.finish().response.content == response_of(whole, {}, Asked(request)).content == rest


def test_a_refusal_sends_the_request_on_to_others() -> None:
    message = "This model does not support assistant message prefill. The conversation must end with a user message."
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    assert type(failure_of_reply(400, {}, body)) is UnsupportedRequest
