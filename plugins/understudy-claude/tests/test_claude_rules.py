"""The tables about models: endings as the SDK knows them, rows with sources, and the reasons for what is sent."""

from __future__ import annotations

import re
import threading
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from understudy import Failure, LLMFactory, Settings
from understudy.errors import AuthenticationFailed, MalformedResponse, ProviderUnavailable, Timeout
from understudy_claude import ClaudeProvider, models
from understudy_claude.models import DEFAULT_MODEL, NEWEST_VERSION, WHY_SENT, rules, traits_of
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox


def _of_the_sdk() -> dict[str, str]:
    """Return the SDK's own list of models that end; each version keeps it somewhere else."""
    for place in ("anthropic._data", "anthropic.resources.messages.messages", "anthropic.resources.messages"):
        try:
            found: dict[str, str] = import_module(place).DEPRECATED_MODELS
        except (ImportError, AttributeError):
            continue
        return found
    pytest.skip("this anthropic has no list of models that end")


def _day(told: str) -> date:
    return datetime.strptime(re.sub(r"(\d)(st|nd|rd|th)", r"\1", told), "%B %d, %Y").date()


def test_every_ending_that_the_sdk_knows_is_known_with_its_day() -> None:
    theirs = {model: _day(told) for model, told in _of_the_sdk().items()}
    assert theirs
    ours = {model: day for model, (day, _) in models._ENDINGS.items()}
    assert {model: ours.get(model) for model in theirs} == theirs


def test_no_successor_ends_and_none_is_unknown() -> None:
    for model, (_, successor) in models._ENDINGS.items():
        assert successor not in models._ENDINGS, model
        assert traits_of(successor) is not None


def test_each_rule_has_a_source_and_a_day() -> None:
    for rule in rules():
        assert rule.models, rule
        assert rule.rule, rule
        assert rule.source.startswith("https://"), rule
        assert date.fromisoformat(rule.read) <= date(2026, 11, 30), rule
    about = {rule.about for rule in rules()}
    assert about == {
        *("default model", "price", "API version", "sampling", "prefill", "forced tools", "thinking"),
        *("room to think", "limit", "ending"),
    }


def test_the_rows_are_made_from_the_tables() -> None:
    rows = {(rule.about, rule.rule.partition(":")[0]): rule.models for rule in rules()}
    assert rows["forced tools", "a tool that must be called is refused"] == (
        "Sonnet from 5.5, Opus from 5.5, Fable from 5.1, Mythos from 5.1"
    )
    assert rows["sampling", "temperature, top_p, top_k are refused"] == (
        "Haiku from 5.5, Sonnet from 5, Opus from 4.7, Fable, Mythos"
    )
    assert rows["room to think", "32,768 tokens at high"] == "Sonnet from 5, Opus from 5 before 5.5, Fable, Mythos"
    endings = [rule for rule in rules() if rule.about == "ending"]
    assert len(endings) == len(models._ENDINGS)


@pytest.mark.parametrize(
    ("model", "thinks", "most", "forced"),
    [
        ("claude-haiku-5-5", True, 128_000, True),
        ("claude-haiku-4-5-20251001", False, 64_000, True),
        ("claude-opus-4-20250514", False, 32_000, True),
        ("anthropic/claude-sonnet-4.6", False, 128_000, True),
        ("claude-sonnet-6", True, 128_000, False),
        ("claude-mythos-preview", True, 128_000, True),
        ("claude-tomorrow-7", True, 128_000, False),
    ],
)
def test_what_is_known_of_a_model(model: str, thinks: bool, most: int, forced: bool) -> None:
    traits = traits_of(model)
    assert traits is not None
    assert (traits.thinks, traits.most, traits.forced) == (thinks, most, forced)


def test_names_of_others_tell_nothing() -> None:
    assert traits_of("our-own-model") is None
    assert traits_of("claude-2.1") is None


def test_each_field_of_the_default_call_has_a_reason(sandbox: Sandbox, factory: LLMFactory) -> None:
    response = factory.generate_content("Hello")
    assert response.success
    [received] = sandbox.claude.requests
    assert received.json == {
        "model": DEFAULT_MODEL,
        "max_tokens": 1024 + 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "output_config": {"effort": "low"},
    }
    assert received.headers["anthropic-version"] == NEWEST_VERSION
    assert {name for name in WHY_SENT if not name.startswith("not sent: ")} == {
        *("max_tokens", "output_config.effort", "header anthropic-version")
    }
    assert response.warnings == ()  # nobody named a temperature
    left_out = [name.removeprefix("not sent: ") for name in WHY_SENT if name.startswith("not sent: ")]
    assert left_out == ["temperature", "thinking"]
    assert not {*left_out} & received.json.keys()


# ---- the vendor's list of models ----


def test_the_list_of_models(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    assert DEFAULT_MODEL in provider.list_models()
    [received] = sandbox.claude.requests
    assert (received.method, received.path, received.query["limit"]) == ("GET", "/v1/models", "1000")
    assert received.headers["anthropic-version"] == NEWEST_VERSION


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.authentication_failed(), AuthenticationFailed),
        (faults.html_page(), MalformedResponse),
        (faults.status(200, {"data": [7]}, {"content-type": "application/json"}), MalformedResponse),
        (faults.null_object(), MalformedResponse),
        (faults.black_hole(), Timeout),
    ],
    ids=str,
)
def test_a_list_that_does_not_come_is_a_typed_failure(
    sandbox: Sandbox, provider: ClaudeProvider, fault: Any, kind: type[Failure]
) -> None:
    sandbox.claude.always(fault)
    with pytest.raises(Failure) as caught:
        provider.list_models(timeout=0.5)
    assert type(caught.value) is kind
    assert (caught.value.provider, caught.value.model) == ("claude", None)
    assert sandbox.claude.request_count == 1


class _Trickle(BaseHTTPRequestHandler):
    """Sends a byte now and then, for as long as somebody listens."""

    left: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        try:
            while not self.left.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()
        except OSError:
            self.left.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_list_that_trickles_ends_in_time() -> None:
    _Trickle.left = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Trickle) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        keys = {"ANTHROPIC_API_KEY": "not-a-real-key", "ANTHROPIC_BASE_URL": address}
        provider = ClaudeProvider(Settings(environment=keys))
        with pytest.raises(Timeout):
            provider.list_models(timeout=0.3)
        assert _Trickle.left.wait(10)  # the connection was closed
        provider.close()
        server.shutdown()
        thread.join(5)


def test_without_a_key_no_list_is_asked_for() -> None:
    with pytest.raises(ProviderUnavailable, match="ANTHROPIC_API_KEY is"):
        ClaudeProvider(Settings(environment={})).list_models()
