"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from understudy import ConfigurationError, Message, Request, Settings
from understudy_claude import ClaudeProvider, understudy_provider

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox

KEY = "not-a-real-key-1234"
REQUEST = Request(messages=(Message.user("Hello"),), timeout=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANTHROPIC_API_KEY", "not-a-real-key\nX: y"),
        ("CLAUDE_TRANSPORT", "grpc"),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        understudy_provider(Settings(environment={"ANTHROPIC_API_KEY": KEY, name: value}))


def test_the_users_own_headers_go_along_but_credentials_among_them_do_not(
    ask: Ask, lane: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "Authorization: Bearer stolen\nX-Api-Key: stolen\nX-Team: blue"
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", own)  # the SDK looks there by itself
    settings = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": sandbox.claude.url, "CLAUDE_TRANSPORT": lane}
    provider = ClaudeProvider(Settings(environment={**settings, "ANTHROPIC_CUSTOM_HEADERS": own}))
    assert ask(provider, REQUEST).success
    provider.close()
    [received] = sandbox.claude.requests
    # both ways, since the sandbox's address is not Anthropic's own
    assert (received.headers["authorization"], received.headers["x-api-key"]) == (f"Bearer {KEY}", KEY)
    assert received.headers["x-team"] == "blue"  # headers that are no credentials are the user's own wish
