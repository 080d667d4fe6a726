"""Parts of messages: the wrong type is refused before anything is sent, and all can be pickled and copied."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from understudy import Image, LLMResponse, Message, Request, Text, Thinking, ToolCall, ToolResult
from understudy.messages import NOTHING

ODD: dict[str, tuple[Any, dict[str, Any]]] = {
    "a text": (Text, {"text": None}),
    "a thought": (Thinking, {"text": 7}),
    "an id": (ToolCall, {"id": 7, "name": "f"}),
    "arguments": (ToolCall, {"id": "a", "name": "f", "arguments": ["x"]}),
    "a url": (Image, {"url": 0.5}),
    "bytes": (Image, {"data": "text", "media_type": "image/png"}),
    "a result": (ToolResult, {"call_id": "a", "content": None}),
    "provider_data": (Text, {"text": "a", "provider_data": {"openai": None}}),
    "all of it": (Text, {"text": "a", "provider_data": [("openai", {})]}),
}


@pytest.mark.parametrize(("kind", "fields"), ODD.values(), ids=ODD)
def test_a_part_of_the_wrong_type_is_refused(kind: Any, fields: dict[str, Any]) -> None:
    part = kind(**fields)
    role: Any = {ToolCall: "assistant", Thinking: "assistant", ToolResult: "tool"}.get(kind, "user")
    with pytest.raises(TypeError, match=r"^expected"):
        Request(messages=(Message.user("é"), Message(role, (part,))))


def test_requests_and_answers_can_be_pickled_and_copied() -> None:
    call = ToolCall(id="a", name="f")
    request = Request(messages=(Message.user("Hello"), Message.assistant(Text("Hi."), call), Message.user("And?")))
    response = LLMResponse(True, "Hi.", "x", parts=(Text("Hi."), Thinking("Hm."), call))
    for whole in (request, response):
        assert pickle.loads(pickle.dumps(whole)) == copy.deepcopy(whole) == copy.copy(whole) == whole
    assert pickle.loads(pickle.dumps(NOTHING)) is NOTHING
    assert (dict(NOTHING), len(NOTHING), NOTHING.get("a", 1), repr(NOTHING)) == ({}, 0, 1, "{}")
    with pytest.raises(KeyError):
        NOTHING["a"]
