"""Parts of messages: the wrong type is refused before anything is sent, and all can be pickled and copied."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from understudy import Image, LLMResponse, Message, Request, Text, Thinking, ToolCall, ToolResult
from understudy.messages import NOTHING

ODD: dict[str, Any] = {
    "a text": Text(None),  # type: ignore[arg-type]
    "a thought": Thinking(7),  # type: ignore[arg-type]
    "an id": ToolCall(id=7, name="f"),  # type: ignore[arg-type]
    "arguments": ToolCall(id="a", name="f", arguments=["x"]),  # type: ignore[arg-type]
    "a url": Image(url=0.5),  # type: ignore[arg-type]
    "bytes": Image(data="text", media_type="image/png"),  # type: ignore[arg-type]
    "a result": ToolResult(call_id="a", content=None),  # type: ignore[arg-type]
    "provider_data": Text("a", {"openai": None}),  # type: ignore[dict-item]
    "all of it": Text("a", [("openai", {})]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("part", ODD.values(), ids=ODD)
def test_a_part_of_the_wrong_type_is_refused(part: Any) -> None:
    role: Any = {ToolCall: "assistant", Thinking: "assistant", ToolResult: "tool"}.get(type(part), "user")
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
