"""Requests that begin the answer themselves, as the vendors take them, through the real SDKs and on the bare socket."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import anthropic
import pytest

from understudy_sandbox import Sandbox

MODEL = "claude-haiku-4-5"
ANSWER = 'This is the Understudy sandbox standing in for Claude, not a real model. You said: "Hello there"'
NO_PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."


def ask(
    client: anthropic.Anthropic, begun: str | list[Any], model: str = MODEL, **more: Any
) -> anthropic.types.Message:
    turns: Any = [{"role": "user", "content": "Hello there"}, {"role": "assistant", "content": begun}]
    return client.messages.create(model=model, max_tokens=2000, messages=turns, **more)


def test_claude_says_the_rest_of_its_own_answer_and_all_of_it_after_other_words(
    sandbox: Sandbox, claude_client: anthropic.Anthropic
) -> None:
    rest = ask(claude_client, ANSWER[:20])
    assert (ANSWER[:20] + rest.content[0].text, rest.stop_reason) == (ANSWER, "end_turn")  # type: ignore[union-attr]
    assert ask(claude_client, "Something else").content[0].text == ANSWER  # type: ignore[union-attr]
    sandbox.claude.reply("a b c d")
    assert ask(claude_client, "a b").content[0].text == " c d"  # type: ignore[union-attr]
    whole = ask(claude_client, ANSWER)
    assert (whole.content, whole.stop_reason) == ([], "end_turn")


@pytest.mark.parametrize(
    ("begun", "more", "complaint"),
    [
        ("This is ", {}, "final assistant content cannot end with trailing whitespace"),
        ("This is", {"model": "claude-sonnet-5-5"}, NO_PREFILL),
        ("This is", {"model": "claude-opus-4-6"}, NO_PREFILL),
        ("This is", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "must start with a thinking block"),
        ("{", {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "structured"),
    ],
)
def test_claude_turns_away_what_it_cannot_go_on_from(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, begun: str, more: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(claude_client, begun, **more)
    assert complaint in caught.value.api_message


def test_a_turn_of_claude_that_paused_goes_on_with_every_model(
    sandbox: Sandbox, claude_client: anthropic.Anthropic
) -> None:
    paused = [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}]
    thought, text = ask(claude_client, paused, "claude-sonnet-5-5").content
    assert (thought.type, text.text) == ("thinking", ANSWER)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("model", "status"),
    [("gemini-3.5-flash", 200), ("gemini-3.6-flash", 400), ("gemini-4-argon", 400), ("gemini-flash-latest", 400)],
)
def test_gemini_goes_on_with_older_models_only(sandbox: Sandbox, model: str, status: int) -> None:
    turns = [{"role": role, "parts": [{"text": text}]} for role, text in (("user", "Hi"), ("model", "This is"))]
    request = urllib.request.Request(
        f"{sandbox.gemini.url}/v1beta/models/{model}:generateContent",
        json.dumps({"contents": turns}).encode(),
        {"content-type": "application/json", "x-goog-api-key": "test-key"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            found, body = reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        found, body = error.code, json.load(error)
    assert found == status
    if status == 200:
        assert body["candidates"][0]["content"]["parts"][0]["text"].startswith(" the Understudy sandbox")
    else:
        assert body["error"]["message"] == "Requests ending with a model turn are not supported."
