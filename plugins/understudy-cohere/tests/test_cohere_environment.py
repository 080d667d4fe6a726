"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from understudy import ConfigurationError, Message, Request, Settings
from understudy_cohere import understudy_provider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

KEY = "not-a-real-key-1234"
REQUEST = Request(messages=(Message.user("Hello"),), timeout=5)


def test_a_malformed_setting_of_the_sdks_is_named() -> None:
    for name, value in {"CO_API_KEY": "not a key", "CO_API_URL": "api.cohere.com"}.items():
        given = {} if name == "CO_API_KEY" else {"COHERE_API_KEY": KEY}
        with pytest.raises(ConfigurationError, match=name):
            understudy_provider(Settings(environment={**given, name: value}))


def test_the_sdks_own_names_are_read_after_ours(sandbox: Sandbox) -> None:
    theirs = {"CO_API_KEY": "not-a-real-key-of-theirs", "CO_API_URL": sandbox.cohere.url}
    for environment in (theirs, {**theirs, "COHERE_API_KEY": KEY, "COHERE_BASE_URL": f"{sandbox.cohere.url}/"}):
        provider = understudy_provider(Settings(environment=environment))
        assert provider.generate(REQUEST).success
        provider.close()
    sent = [request.headers["authorization"] for request in sandbox.cohere.requests]
    assert sent == ["Bearer not-a-real-key-of-theirs", f"Bearer {KEY}"]
