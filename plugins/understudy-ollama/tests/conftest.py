"""What the tests share: a provider in front of the sandbox; the ways to ask are in the file above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from understudy import LLMResponse, Request, Settings
from understudy_ollama import OllamaProvider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[OllamaProvider, Request], LLMResponse]


@pytest.fixture
def provider(sandbox: Sandbox, lane: str) -> Iterator[OllamaProvider]:
    """A provider in front of the sandbox, on each lane."""
    made = OllamaProvider(Settings(environment={**sandbox.environment(), "OLLAMA_TRANSPORT": lane}))
    yield made
    made.close()
