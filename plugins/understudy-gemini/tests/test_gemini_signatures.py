"""Signatures that Gemini refuses: the request is made once more without them, its calls marked as unsigned."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from understudy import Finish, LLMFactory, LLMResponse, Message, Request, Text, Thinking, ToolCall, ToolResult
from understudy.errors import UnsupportedRequest
from understudy_gemini import GeminiProvider
from understudy_gemini_wire.adaptations import WITHOUT_SIGNATURES
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiProvider, Request], LLMResponse]
FOREIGN = {"gemini": {"thoughtSignature": "c2lnbmVkIGVsc2V3aGVyZQ=="}}
FIRST, SECOND = ToolCall(id="1", name="weather"), ToolCall(id="2", name="weather", provider_data=FOREIGN)
MESSAGES = (
    Message.user("Use weather"),
    Message.assistant(Thinking("hm", FOREIGN), Text("I look.", FOREIGN), FIRST, SECOND),
    Message.tool(ToolResult(call_id="1", content="hot"), ToolResult(call_id="2", content="cold")),
)
UNSIGNED = [
    {"text": "I look."},
    {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"},
    {"functionCall": {"name": "weather", "args": {}}},
]


@pytest.fixture
def factory(sandbox_environment: dict[str, str]) -> Iterator[LLMFactory]:
    with LLMFactory("gemini", [], settings=sandbox_environment, extensions=[]) as made:
        yield made


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_what_is_refused_is_left_out_once_more(sandbox: Sandbox, factory: LLMFactory, streamed: bool) -> None:
    if streamed:
        *_, last = factory.stream_content(MESSAGES)
        assert isinstance(last, Finish)
        response = last.response
    else:
        response = factory.generate_content(MESSAGES)
    assert response.content.endswith('The tools said: {"output": "hot"}, {"output": "cold"}')
    first, second = response.attempts
    assert isinstance(first.failure, UnsupportedRequest)
    assert second.reason == "once more, without thought signatures"
    assert sandbox.gemini.requests[1].json["contents"][1]["parts"] == UNSIGNED


def test_a_name_that_does_not_tell_of_signatures_gets_them_when_they_are_missed(
    provider: GeminiProvider, sandbox: Sandbox, ask: Ask
) -> None:
    error = {"code": 400, "message": "Function call is missing a thought_signature", "status": "INVALID_ARGUMENT"}
    sandbox.gemini.next(faults.status(400, {"error": error}))
    result = Message.tool(ToolResult(call_id="1", content="hot"))
    plain = (MESSAGES[0], Message.assistant(FIRST), result)
    with pytest.raises(UnsupportedRequest) as caught:
        ask(provider, Request(messages=plain, model="a-model-of-mine"))
    assert caught.value.adaptation == WITHOUT_SIGNATURES
    assert "thoughtSignature" not in sandbox.gemini.requests[0].json["contents"][1]["parts"][0]
    ask(provider, Request(messages=plain, model="a-model-of-mine", adaptation=WITHOUT_SIGNATURES))
    assert "thoughtSignature" in sandbox.gemini.requests[1].json["contents"][1]["parts"][0]


def test_a_request_without_any_is_not_made_once_more(provider: GeminiProvider, sandbox: Sandbox, ask: Ask) -> None:
    error = {"code": 400, "message": "Corrupted thought signature.", "status": "INVALID_ARGUMENT"}
    sandbox.gemini.next(faults.status(400, {"error": error}))
    with pytest.raises(UnsupportedRequest) as caught:
        ask(provider, Request(messages=(Message.user("hello"),)))
    assert caught.value.adaptation is None


def test_the_reason_of_an_answer_tells_of_a_missing_one(
    provider: GeminiProvider, sandbox: Sandbox, ask_whole: Ask
) -> None:
    told = {"candidates": [{"finishReason": "MISSING_THOUGHT_SIGNATURE"}]}
    sandbox.gemini.next(faults.status(200, told))
    with pytest.raises(UnsupportedRequest) as caught:
        ask_whole(provider, Request(messages=MESSAGES))
    assert caught.value.adaptation == WITHOUT_SIGNATURES
