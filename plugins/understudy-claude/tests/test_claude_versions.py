"""The version of the API goes with what is sent, and what is sent with the version; and how the key goes along."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from understudy import File, LLMFactory, Message, Request, Settings, Text, ToolCall, ToolResult
from understudy.errors import InvalidRequest, UnsupportedRequest
from understudy_claude import ClaudeProvider
from understudy_claude.failures import OLDER_VERSION, WITHOUT_SAMPLING
from understudy_claude.models import NEWEST_VERSION, SAMPLING_VERSION
from understudy_claude.wire import request_body
from understudy_sandbox import faults

if TYPE_CHECKING:
    from conftest import Ask, Call

    from understudy_sandbox import Sandbox

HELLO = Message.user("Hello there")
SAMPLING = {"top_p": 0.9, "top_k": 5}


def _request(model: str, temperature: float | None = 0.0, **claude: Any) -> Request:
    return Request(messages=(HELLO,), model=model, temperature=temperature, options={"claude": claude})


@pytest.mark.parametrize(
    ("model", "claude", "version", "sent"),
    [
        ("claude-haiku-5-5", {}, NEWEST_VERSION, {}),
        ("claude-sonnet-5", SAMPLING, NEWEST_VERSION, {}),
        ("claude-opus-4-8", {}, NEWEST_VERSION, {}),
        ("claude-haiku-4-5", {}, SAMPLING_VERSION, {"temperature": 0.0}),
        ("claude-sonnet-4-6", SAMPLING, SAMPLING_VERSION, {"temperature": 0.0, **SAMPLING}),
        ("claude-opus-4-6", {"thinking": {"type": "adaptive"}}, NEWEST_VERSION, {}),
        ("our-own-model", {}, SAMPLING_VERSION, {"temperature": 0.0}),
        ("claude-haiku-4-5", {"api_version": NEWEST_VERSION}, NEWEST_VERSION, {}),
        ("claude-haiku-5-5", {"api_version": SAMPLING_VERSION}, SAMPLING_VERSION, {}),
    ],
)
def test_sampling_settings_go_with_the_version_that_takes_them(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider, model: str, claude: Any, version: str, sent: dict[str, Any]
) -> None:
    response = ask(provider, _request(model, **claude))
    assert response.success
    [received] = sandbox.claude.requests
    assert received.headers["anthropic-version"] == version
    found = {name: received.json[name] for name in ("temperature", "top_p", "top_k") if name in received.json}
    assert found == sent
    asked = {"temperature", *({"top_p", "top_k"} & claude.keys())}
    assert asked - sent.keys() == {warning.setting for warning in response.warnings}


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "our-own-model"])
def test_without_sampling_settings_the_newest_version_is_sent(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider, model: str
) -> None:
    assert ask(provider, _request(model, None)).warnings == ()
    assert sandbox.claude.requests[0].headers["anthropic-version"] == NEWEST_VERSION


@pytest.mark.parametrize("version", [7, None])
def test_a_version_that_is_no_text_is_refused(provider: ClaudeProvider, version: Any) -> None:
    with pytest.raises(InvalidRequest, match="expected options\\['claude'\\]\\['api_version'\\] as a date such as"):
        provider.generate(_request("claude-haiku-5-5", api_version=version))


def test_a_version_that_the_server_does_not_know_becomes_the_older_one(provider: ClaudeProvider) -> None:
    asked = _request("claude-haiku-5-5", None, api_version="2027-01-01")
    with pytest.raises(UnsupportedRequest, match='anthropic-version: "2027-01-01" is not a valid version') as caught:
        provider.generate(asked)
    assert caught.value.adaptation == OLDER_VERSION
    for again in (replace(asked, adaptation=OLDER_VERSION), asked):  # the second because it is remembered
        assert [warning.setting for warning in provider.generate(again).warnings] == ["api_version"]


@pytest.mark.parametrize(
    "words", ["temperature: Extra inputs are not permitted", "`top_p` is deprecated for this model."]
)
def test_sampling_settings_that_are_refused_all_the_same_are_left_out_at_once(
    call: Call, sandbox: Sandbox, words: str
) -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    sandbox.claude.next(faults.status(400, error))
    with LLMFactory("claude:our-own-model", [], settings=sandbox.environment(), extensions=[]) as asked:
        response = call(asked, "Hello there", temperature=0.5, options={"claude": SAMPLING})
    assert response.success
    assert [attempt.reason for attempt in response.attempts] == ["primary", f"once more, {WITHOUT_SAMPLING}"]
    first, second = sandbox.claude.requests
    assert {"temperature", "top_p", "top_k"} <= first.json.keys()
    assert not {"temperature", "top_p", "top_k"} & second.json.keys()
    assert [request.headers["anthropic-version"] for request in (first, second)] == [SAMPLING_VERSION, NEWEST_VERSION]
    assert [warning.setting for warning in response.warnings] == ["temperature", "top_p", "top_k"]
    assert str(response.warnings[0]) == "temperature was left out: Claude refused it"


def test_no_document_of_an_assistant_and_no_citations_of_a_user_are_sent(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    cited = Text("The sky is blue.", {"claude": {"citations": [{"type": "char_location"}]}})
    kept = Text("Why?", {"claude": {"citations": [{"type": "x"}], "cache_control": {"type": "ephemeral"}}})
    request = Request(
        messages=(
            Message("user", (cited, kept)),
            Message("assistant", (File(data=b"x", media_type="application/pdf"), Text("See."))),
            HELLO,
        ),
    )
    response = ask(provider, request)
    [received] = sandbox.claude.requests
    assert received.json["messages"][0]["content"] == [
        {"type": "text", "text": "The sky is blue."},
        {"type": "text", "text": "Why?", "cache_control": {"type": "ephemeral"}},
    ]
    assert received.json["messages"][1]["content"] == [{"type": "text", "text": "See."}]
    assert [warning.setting for warning in response.warnings] == ["messages"]


def test_citations_of_an_assistant_go_back() -> None:
    own = {"citations": [{"type": "char_location"}]}
    cited = Message("assistant", (Text("The sky is blue.", {"claude": own}),))
    body, _ = request_body(Request(messages=(HELLO, cited, HELLO)), "claude-haiku-5-5")
    assert body["messages"][1]["content"] == [{"type": "text", "text": "The sky is blue.", **own}]
    result = ToolResult(call_id="t", content=(Text("blue", {"claude": own}),))
    called = Message.assistant(ToolCall(id="t", name="sky"))
    body, _ = request_body(Request(messages=(HELLO, called, Message.tool(result))), "claude-haiku-5-5")
    assert body["messages"][2]["content"][0]["content"] == [{"type": "text", "text": "blue"}]


def test_the_key_goes_to_anthropic_itself_as_the_sdk_sends_it(
    ask: Ask, lane: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy_claude.provider.BASE_URL", sandbox.claude.url)
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-api-key: stolen")
    provider = ClaudeProvider(Settings(environment={**sandbox.environment(), "CLAUDE_TRANSPORT": lane}))
    assert ask(provider, Request(messages=(HELLO,))).success
    provider.close()
    [received] = sandbox.claude.requests
    newer = lane == "http" or int(anthropic.__version__.partition(".")[0]) >= 2
    keys = {name: received.headers[name] for name in ("authorization", "x-api-key") if name in received.headers}
    assert keys == ({"authorization": "Bearer sandbox-key"} if newer else {"x-api-key": "sandbox-key"})
