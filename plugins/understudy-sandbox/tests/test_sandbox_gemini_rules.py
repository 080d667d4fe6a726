"""The rules that Google's API has since 2026: deadlines, thinking, keys, regions and signatures, without any SDK."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from understudy_sandbox import Sandbox

HELLO: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}
CALL = {"functionCall": {"name": "weather", "args": {}}}
RESULT = {"functionResponse": {"name": "weather", "response": {"output": "hot"}}}


def post(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Send a request; return the status and the JSON of the reply."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"x-goog-api-key": "AQ.new", **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            document = json.loads(error.read())
            return error.code, (document[0] if isinstance(document, list) else document)["error"]


def studio(sandbox: Sandbox, model: str, config: dict[str, Any] | None = None, **more: Any) -> tuple[int, Any]:
    body = {**HELLO, **more, **({"generationConfig": config} if config else {})}
    return post(f"{sandbox.gemini.url}/v1beta/models/{model}:generateContent", body)


def outcome(reply: Any) -> tuple[str, str, int]:
    """Return why the answer ended, its first words, and how many tokens were thought."""
    candidate = reply["candidates"][0]
    text = "".join(part.get("text", "") for part in candidate["content"].get("parts", ()))
    return candidate["finishReason"], text[:7], reply["usageMetadata"].get("thoughtsTokenCount", 0)


@pytest.mark.parametrize(("seconds", "status"), [("5", 400), ("9", 400), ("10", 200), ("600", 200)])
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_a_deadline_below_ten_seconds_is_refused(sandbox: Sandbox, method: str, seconds: str, status: int) -> None:
    url = f"{sandbox.gemini.url}/v1beta/models/gemini-3.5-flash-lite:{method}"
    found, reply = post(url, HELLO, **{"X-Server-Timeout": seconds})
    assert found == status
    if status == 400:
        words = f"Manually set deadline {seconds}s is too short. Minimum allowed deadline is 10s."
        assert (reply["message"], reply["status"]) == (words, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("model", "config", "expected"),
    [
        ("gemini-3.8-flash", {"maxOutputTokens": 1024}, ("MAX_TOKENS", "", 1024)),
        ("gemini-3.8-flash", {"maxOutputTokens": 1240}, ("MAX_TOKENS", "This is", 1232)),
        ("gemini-3.8-flash", {"maxOutputTokens": 4096}, ("STOP", "This is", 1232)),
        ("gemini-3.8-flash", None, ("STOP", "This is", 1232)),
        ("gemini-3.8-flash", {"thinkingConfig": {"thinkingLevel": "LOW"}}, ("STOP", "This is", 14)),
        ("gemini-3.8-flash", {"thinkingConfig": {"thinkingLevel": "high"}}, ("STOP", "This is", 4096)),
        ("gemini-3.8-flash", {"thinkingConfig": {"thinkingBudget": 0}}, ("STOP", "This is", 14)),
        ("gemini-3.5-flash-lite", {"maxOutputTokens": 1024}, ("STOP", "This is", 2)),
        ("gemini-3.5-flash-lite", {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}, ("STOP", "This is", 2)),
        ("gemini-2.5-flash", {"maxOutputTokens": 1024}, ("MAX_TOKENS", "", 1024)),
        ("gemini-2.5-flash", {"thinkingConfig": {"thinkingBudget": 0}}, ("STOP", "This is", 0)),
        ("gemini-2.5-flash", {"thinkingConfig": {"thinkingBudget": 1024}}, ("STOP", "This is", 1024)),
        ("gemini-2.5-flash", {"thinkingConfig": {"thinkingBudget": -1}}, ("STOP", "This is", 1232)),
        ("gemini-2.5-flash-lite", {"maxOutputTokens": 1024}, ("STOP", "This is", 0)),
        ("gemini-2.0-flash", {"maxOutputTokens": 1024}, ("STOP", "This is", 0)),
    ],
)
def test_thinking_counts_within_the_limit(
    sandbox: Sandbox, model: str, config: dict[str, Any] | None, expected: tuple[str, str, int]
) -> None:
    status, reply = studio(sandbox, model, config)
    assert status == 200
    assert outcome(reply) == expected


def test_a_tool_is_not_called_where_thinking_left_no_token(sandbox: Sandbox) -> None:
    tools = [{"functionDeclarations": [{"name": "hello"}]}]
    _, reply = studio(sandbox, "gemini-3.8-flash", {"maxOutputTokens": 100}, tools=tools)
    assert reply["candidates"][0]["content"] == {"role": "model"}


@pytest.mark.parametrize(
    ("model", "thinking", "words"),
    [
        ("gemini-3.8-flash", {"thinkingLevel": "MINIMAL"}, "Thinking level MINIMAL is not supported for this model."),
        ("gemini-3.7-flash", {"thinkingLevel": "minimal"}, "Thinking level MINIMAL is not supported for this model."),
        ("gemini-3.1-pro-preview", {"thinkingLevel": "MINIMAL"}, "Please retry with other thinking level."),
        ("gemini-2.5-flash", {"thinkingLevel": "LOW"}, "Thinking level is not supported for this model."),
        ("gemini-2.5-pro", {"thinkingBudget": 0}, "Budget 0 is invalid. This model only works in thinking mode."),
        ("gemini-3.5-flash", {"thinkingLevel": "LOW", "thinkingBudget": 5}, "only set only one of"),
    ],
)
def test_settings_of_thinking_that_a_model_does_not_take(
    sandbox: Sandbox, model: str, thinking: dict[str, Any], words: str
) -> None:
    status, error = studio(sandbox, model, {"thinkingConfig": thinking})
    assert (status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert words in error["message"]


def test_an_old_key_is_refused_and_a_new_one_taken(sandbox: Sandbox) -> None:
    url = f"{sandbox.gemini.url}/v1beta/models/gemini-3.5-flash-lite:generateContent"
    status, error = post(url, HELLO, **{"x-goog-api-key": "AIza" + "x" * 35})
    assert (status, error["status"]) == (401, "UNAUTHENTICATED")
    assert "Expected OAuth 2 access token" in error["message"]
    assert error["details"][0]["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    for key in ("AQ.Ab8RN6", "sandbox-key"):
        assert post(url, HELLO, **{"x-goog-api-key": key})[0] == 200


@pytest.mark.parametrize(
    ("location", "model", "status"),
    [
        ("us-central1", "gemini-3.5-flash-lite", 404),
        ("europe-west4", "gemini-4-argon", 404),
        ("us-central1", "gemini-2.5-flash-lite", 200),
        *((large, "gemini-3.5-flash-lite", 200) for large in ("global", "us", "eu")),
    ],
)
def test_a_single_region_has_no_newer_model(sandbox: Sandbox, location: str, model: str, status: int) -> None:
    path = f"projects/p/locations/{location}/publishers/google/models/{model}"
    url = f"{sandbox.gemini.url}/v1beta1/{path}:generateContent"
    found, reply = post(url, HELLO, **{"x-server-timeout": "5"})  # which Vertex AI is not known to refuse
    assert found == status
    if status == 404:
        words = f"Publisher Model `{path}` was not found or your project does not have access to it."
        assert reply["message"].startswith(words)


def test_publisher_models_are_listed(sandbox: Sandbox) -> None:
    request = urllib.request.Request(
        f"{sandbox.gemini.url}/v1beta1/publishers/google/models", headers={"authorization": "Bearer t"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        listed = json.loads(reply.read())["publisherModels"]
    assert {"name": "publishers/google/models/gemini-3.5-flash-lite"} in listed


@pytest.mark.parametrize(
    ("model", "signature", "words"),
    [
        ("gemini-3.5-flash-lite", None, "Function call is missing a thought_signature in functionCall parts."),
        ("gemini-3.5-flash-lite", "c2lnbmVk", "Corrupted thought signature."),
        ("gemini-3.5-flash-lite", "skip_thought_signature_validator", None),
        ("gemini-3.5-flash-lite", "CgMade", None),
        ("gemini-2.5-flash-lite", None, None),
        ("gemini-2.5-flash-lite", "c2lnbmVk", None),
    ],
)
def test_newer_models_check_the_signatures_of_calls(
    sandbox: Sandbox, model: str, signature: str | None, words: str | None
) -> None:
    call = CALL if signature is None else {**CALL, "thoughtSignature": signature}
    turns = [*HELLO["contents"], {"role": "model", "parts": [call, CALL]}, {"role": "user", "parts": [RESULT, RESULT]}]
    status, reply = studio(sandbox, model, contents=turns)
    assert status == (200 if words is None else 400)
    assert words is None or words in reply["message"]


def test_calls_before_the_last_question_need_no_signature(sandbox: Sandbox) -> None:
    before = [*HELLO["contents"], {"role": "model", "parts": [CALL]}, {"role": "user", "parts": [RESULT]}]
    said = {"role": "model", "parts": [{"text": "It is hot."}]}
    assert studio(sandbox, "gemini-3.8-flash", contents=[*before, said, *HELLO["contents"]])[0] == 200
