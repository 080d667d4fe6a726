"""What came from Gemini goes back to it as far as google-generativeai has a place for it."""

from __future__ import annotations

from datetime import date
from typing import Any

from understudy import LLMResponse, Message, Request, Text, Thinking
from understudy_gemini_legacy.wire import request_body
from understudy_gemini_wire.wire import Asked, response_of

ASKED = Request(messages=(Message.user("a"),))


def read(*parts: dict[str, Any]) -> LLMResponse:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}
    return response_of({"candidates": [candidate]}, {}, Asked(ASKED, "gemini-legacy", "m"))


def sent_back(response: LLMResponse) -> Any:
    again = Request(messages=(Message.user("a"), response.message, Message.user("b")))
    return request_body(again, "gemini-3.8-flash", "gemini-legacy", date(2026, 11, 30))[0]["contents"][1]["parts"]


def test_thinking_comes_apart_from_the_text_and_signatures_are_kept_for_the_newer_sdk() -> None:
    thought = {"text": "hm", "thought": True, "thoughtSignature": "c2ln"}
    response = read(thought, {"text": "pong", "thoughtSignature": "bmln"}, {"text": ""})
    assert response.parts == (
        Thinking("hm", {"gemini": {"thoughtSignature": "c2ln"}}),
        Text("pong", {"gemini": {"thoughtSignature": "bmln"}}),
    )
    assert sent_back(response) == [{"text": "pong"}]


def test_parts_of_other_kinds_are_kept_for_the_way_back() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}}
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "iVBORw=="}}
    response = read(code, {"text": "2"}, {**picture, "thoughtSignature": "c2ln"}, sound)
    assert sent_back(response) == [code, {"text": "2"}, picture, sound]
