"""Adapters: one gives a three-method class the full contract, one replaces a provider with wrong settings."""

from __future__ import annotations

from dataclasses import replace

from understudy.classify import failure_of
from understudy.errors import MalformedResponse, ProviderUnavailable
from understudy.messages import Request
from understudy.provider import Capabilities, ChatProvider, LLMProvider
from understudy.response import LLMResponse, ResponseWarning


class PlainProvider(ChatProvider):
    """Gives a class that implements only the three methods the full contract.

    Args:
        provider: the class's instance.
    """

    capabilities = Capabilities()

    def __init__(self, provider: LLMProvider) -> None:
        self.provider = provider
        self.credential = str(getattr(provider, "credential", ""))

    def get_provider_name(self) -> str:
        """Return the wrapped provider's name."""
        return self.provider.get_provider_name()

    def unavailable_reason(self) -> str | None:
        """Say why the wrapped provider is not available, if it has a method of this name; else only that it is not."""
        explain = getattr(self.provider, "unavailable_reason", lambda: "is_available() returned False")
        try:
            return None if self.provider.is_available() else explain() or "is_available() returned False"
        except Exception as error:
            return f"is_available() raised {type(error).__name__}: {error}"

    def generate(self, request: Request) -> LLMResponse:
        """Ask the wrapped provider with the conversation written out as one text."""
        temperature = 0.0 if request.temperature is None else request.temperature
        max_tokens = request.max_tokens or 1024
        response = self.provider.generate_content(write_out(request), temperature, max_tokens)
        if not isinstance(response, LLMResponse):
            raise MalformedResponse(
                f"expected generate_content to return an LLMResponse, found {type(response).__name__}"
            )
        if not response.success:
            raise failure_of(response)
        warnings = tuple(_unheard(request))
        return replace(response, warnings=(*response.warnings, *warnings)) if warnings else response

    def close(self) -> None:
        """Close the wrapped provider, where it can be closed."""
        close = getattr(self.provider, "close", None)
        if callable(close):
            close()


class UnconfiguredProvider(ChatProvider):
    """Replaces a provider whose settings are wrong, so that the others still work.

    Args:
        name: the provider's name.
        reason: what is wrong and how to fix it.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def get_provider_name(self) -> str:
        """Return the name of the provider that should stand here."""
        return self.name

    def unavailable_reason(self) -> str:
        """Say what is wrong with the settings."""
        return self.reason

    def generate(self, request: Request) -> LLMResponse:
        """Raise a failure that says what is wrong with the settings."""
        raise ProviderUnavailable(self.reason, provider=self.name)


def write_out(request: Request) -> str:
    """Write a conversation as one text: its only message as it is, several with their roles before them."""
    turns = [message.text for message in request.messages]
    if len(turns) > 1:
        turns = [f"{m.role.capitalize()}: {text}" for m, text in zip(request.messages, turns, strict=True)]
    return "\n\n".join([request.system, *turns] if request.system else turns)


def _unheard(request: Request) -> list[ResponseWarning]:
    reason = "was not passed on: the provider takes only a prompt, a temperature and max_tokens"
    return [
        ResponseWarning(setting, f"{setting} {reason}") for setting in ("model", "stop") if getattr(request, setting)
    ]
