"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy import Failure, Message, Request, Settings
from understudy_openai import OpenAIProvider

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox
    from understudy_toolkit.conformance import FaultServer

KEY = "not-a-real-key-1234"
REQUEST = Request(messages=(Message.user("Hello"),), timeout=5)


def _provider(url: str, **environment: str) -> OpenAIProvider:
    return OpenAIProvider(Settings(environment={"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url, **environment}))


def _named(folder: Path, url: str, key: str, **environment: str) -> OpenAIProvider:
    """Make a provider as `[providers.groq]` in an understudy.toml describes it."""
    table = f'[providers.groq]\nuses = "openai"\nbase_url = "{url}"\napi_key_env = "{key}"\nmodel = "llama-9"\n'
    (folder / "understudy.toml").write_text(table, "utf-8")
    known = {"OPENAI_API_KEY": KEY, "GROQ_API_KEY": "groq-key", "OPENAI_ORG_ID": "stolen", **environment}
    trusted = {"LLM_TRUSTED_FOLDERS": str(folder)}
    return OpenAIProvider(Settings(environment={**known, **trusted}, directory=folder).for_provider("groq"))


HEADERS = ("Authorization: Bearer stolen", "authorization: Bearer stolen", "OpenAI-Organization: stolen")
CUSTOM = "\n".join([*HEADERS, "X-Team: blue"])


def _steal(monkeypatch: pytest.MonkeyPatch, elsewhere: FaultServer) -> None:
    """Set everything that the SDK would take from the environment by itself."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", CUSTOM)
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "stolen")
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, elsewhere.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_organization_and_project_come_from_the_settings(
    ask: Ask, lane: str, sandbox: Sandbox, elsewhere: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _steal(monkeypatch, elsewhere)
    charged = {"OPENAI_ORG_ID": "org-blue", "OPENAI_PROJECT_ID": "proj-blue"}
    more = {"OPENAI_TRANSPORT": lane, "OPENAI_CUSTOM_HEADERS": CUSTOM}
    provider = _provider(f"{sandbox.openai.url}/v1", **charged, **more)
    assert ask(provider, REQUEST).success
    provider.close()
    [received] = sandbox.openai.requests
    assert received.headers["openai-organization"] == "org-blue"
    assert received.headers["openai-project"] == "proj-blue"
    assert received.headers["x-team"] == "blue"  # headers that are no credentials are the user's own wish


@pytest.mark.parametrize("key", ["", "GROQ_API_KEY"])
def test_a_provider_under_another_name_sends_nothing_that_is_openais(
    key: str,
    lane: str,
    ask: Ask,
    sandbox: Sandbox,
    elsewhere: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _steal(monkeypatch, elsewhere)
    provider = _named(tmp_path, elsewhere.url, key, OPENAI_TRANSPORT=lane, OPENAI_CUSTOM_HEADERS=CUSTOM)
    assert (provider.get_provider_name(), provider.default_model) == ("groq", "llama-9")
    assert provider.is_available()
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    provider.close()
    assert (caught.value.provider, caught.value.model) == ("groq", "llama-9")
    [received] = elsewhere.requests
    sent = f"{dict(received.headers)}{received.body.decode()}".lower()
    assert received.headers.get("authorization") == ("Bearer groq-key" if key else None)
    assert "stolen" not in sent
    assert "x-team" not in sent
    assert KEY not in sent
    assert not [name for name in received.headers if name.startswith("openai-")]
    assert sandbox.openai.request_count == 0


def test_a_provider_under_another_name_says_which_key_it_wants(tmp_path: Path) -> None:
    provider = _named(tmp_path, "https://api.groq.example/v1", "GROQ_API_KEY", GROQ_API_KEY="")
    assert "GROQ_API_KEY" in (provider.unavailable_reason() or "")
    assert "name='groq'" in repr(provider)
