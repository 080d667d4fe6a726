"""What the tests share: a provider in front of the sandbox; the ways to ask are in the file above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from understudy import LLMResponse, Request, Settings
from understudy_gemini_legacy import GeminiLegacyProvider, understudy_provider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[GeminiLegacyProvider, Request], LLMResponse]


@pytest.fixture
def connect() -> Iterator[Callable[..., GeminiLegacyProvider]]:
    """Makes a provider for a URL, with whatever settings besides; closes all of them in the end."""
    made: list[GeminiLegacyProvider] = []

    def make(url: str, **settings: str) -> GeminiLegacyProvider:
        environment = {"GOOGLE_API_KEY": "key-0123456789", "GEMINI_BASE_URL": url, **settings}
        made.append(understudy_provider(Settings(environment=environment)))
        return made[-1]

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def provider(sandbox: Sandbox, connect: Callable[..., GeminiLegacyProvider]) -> GeminiLegacyProvider:
    """A provider in front of the sandbox."""
    return connect(sandbox.gemini.url)
