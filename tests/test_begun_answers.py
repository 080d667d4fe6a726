"""Answers that are begun and gone on with: the real SDKs in front of the stand-ins, model by model."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest

from understudy import ChatProvider, Message, Request, Settings
from understudy.errors import UnsupportedRequest
from understudy_sandbox import Sandbox
from understudy_toolkit.conformance.asking import WAYS, Way

HELLO = Message.user("Hello there")
GO_ON = {
    "understudy_claude": "claude-haiku-4-5",
    "understudy_gemini": "gemini-3.5-flash",
    "understudy_gemini_legacy": "gemini-2.5-flash-lite",
    "understudy_ollama": "llama3.1:8b",
    "understudy_sandbox.echo": "echo",
}
REFUSE = {
    "understudy_claude": "claude-sonnet-5-5",
    "understudy_gemini": "gemini-3.8-flash",
    "understudy_gemini_legacy": "gemini-3.5-flash-lite",
}
BEGIN_ANEW = {
    "understudy_cohere": "command-a-03-2025",
    "understudy_ollama": "gemma4",
    "understudy_openai": "gpt-6-luna",
}
VARIABLES = ("CLAUDE_MODEL", "GEMINI_MODEL", "GEMINI_LEGACY_MODEL", "OLLAMA_MODEL", "COHERE_MODEL", "OPENAI_MODEL")


@pytest.fixture
def provider(module: str, model: str, sandbox: Sandbox) -> Iterator[ChatProvider]:
    """The provider of a module, with this model as its default."""
    settings = Settings(dict.fromkeys(VARIABLES, model), environment=sandbox.environment())
    made: ChatProvider = import_module(module).understudy_provider(settings)
    yield made
    made.close()


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
@pytest.mark.parametrize(("module", "model"), GO_ON.items())
def test_only_the_rest_comes(provider: ChatProvider, way: Way) -> None:
    assert provider.capabilities.prefill
    whole = way(provider, Request(messages=(HELLO,))).content
    middle = whole.index(" a") + 1  # just after a space, which Claude refuses at the end
    for begun in (whole[: middle - 3], whole[: middle - 1], whole[:middle]):
        rest = way(provider, Request(messages=(HELLO, Message.assistant(begun)))).content
        assert begun + rest == whole


@pytest.mark.parametrize(("module", "model"), REFUSE.items())
def test_a_model_that_refuses_is_not_asked(provider: ChatProvider, sandbox: Sandbox, model: str) -> None:
    assert not provider.capabilities.prefill
    with pytest.raises(UnsupportedRequest, match=f"{model} does not continue"):
        provider.generate(Request(messages=(HELLO, Message.assistant("Well,"))))
    assert sandbox["claude"].request_count == sandbox["gemini"].request_count == 0


@pytest.mark.parametrize(("module", "model"), BEGIN_ANEW.items())
def test_others_begin_anew_and_do_not_say_that_they_go_on(provider: ChatProvider) -> None:
    assert not provider.capabilities.prefill
    whole = provider.generate(Request(messages=(HELLO,))).content
    assert provider.generate(Request(messages=(HELLO, Message.assistant(whole[:9])))).content == whole


@pytest.mark.parametrize(
    ("module", "model"), [("understudy_claude", "our-own-model"), ("understudy_gemini", "our-own-model")]
)
def test_a_name_that_tells_nothing_is_asked_and_nothing_is_promised(provider: ChatProvider) -> None:
    assert not provider.capabilities.prefill
    assert provider.generate(Request(messages=(HELLO, Message.assistant("Well,")))).success
