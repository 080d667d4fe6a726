"""What the tests share: a provider in front of the sandbox; the ways to ask are in the file above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from understudy import LLMResponse, Request, Settings
from understudy_gemini import GeminiProvider, understudy_provider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[GeminiProvider, Request], LLMResponse]


@pytest.fixture
def connect(lane: str) -> Iterator[Callable[..., GeminiProvider]]:
    """Makes a provider for a URL on each lane, with whatever settings besides; closes all of them in the end."""
    made: list[GeminiProvider] = []

    def make(url: str, **settings: str) -> GeminiProvider:
        asked = {"GOOGLE_API_KEY": "key-0123456789", "GEMINI_BASE_URL": url, "GEMINI_TRANSPORT": lane}
        environment = {**asked, **settings}
        made.append(understudy_provider(Settings(environment=environment)))
        return made[-1]

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def provider(sandbox: Sandbox, connect: Callable[..., GeminiProvider]) -> GeminiProvider:
    """A provider in front of the sandbox."""
    return connect(sandbox.gemini.url)
