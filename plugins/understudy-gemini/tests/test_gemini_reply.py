"""What came from Gemini goes back to it as it came: signatures, parts of its own kinds, pictures."""

from __future__ import annotations

from datetime import date
from typing import Any

from understudy import LLMResponse, Message, Request, Text
from understudy_gemini.wire import request_body
from understudy_gemini_wire.wire import Asked, response_of

ASKED = Request(messages=(Message.user("a"),))


def read(*parts: dict[str, Any]) -> LLMResponse:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}
    return response_of({"candidates": [candidate]}, {}, Asked(ASKED, "gemini", "m"))


def sent_back(response: LLMResponse) -> Any:
    again = Request(messages=(Message.user("a"), response.message, Message.user("b")))
    return request_body(again, "gemini-3.8-flash", "gemini", date(2026, 11, 30))[0]["contents"][1]["parts"]


def test_thinking_returns_with_its_signature() -> None:
    thought = {"text": "hm", "thought": True, "thoughtSignature": "c2ln"}
    answer = {"text": "pong", "thoughtSignature": "bmln"}
    assert sent_back(read(thought, answer, {"text": ""})) == [thought, answer]


def test_parts_of_other_kinds_are_kept_for_the_way_back() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}}
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}, "thoughtSignature": "c2ln"}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "iVBORw=="}}
    elsewhere = {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.org/a"}}
    sign = {"thoughtSignature": "c2ln"}
    response = read(code, {"text": "2", "videoMetadata": None}, picture, sound, elsewhere, sign)
    assert response.content == "2"
    assert isinstance(response.parts[0], Text)
    assert sent_back(response) == [code, {"text": "2"}, picture, sound, elsewhere, sign]
