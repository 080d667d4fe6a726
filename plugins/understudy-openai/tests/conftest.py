"""What the tests share: a provider in front of the sandbox; the ways to ask are in the file above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from understudy import LLMResponse, Request, Settings
from understudy_openai import OpenAIProvider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[OpenAIProvider, Request], LLMResponse]


@pytest.fixture
def provider(sandbox: Sandbox, lane: str) -> Iterator[OpenAIProvider]:
    """A provider in front of the sandbox, on each lane."""
    made = OpenAIProvider(Settings(environment={**sandbox.environment(), "OPENAI_TRANSPORT": lane}))
    yield made
    made.close()


@pytest.fixture
def stream(ask_stream: Ask) -> Ask:
    """Each of the two calls that stream, as a function that returns the whole answer."""
    return ask_stream


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    """Each of the two APIs, for options["openai"]."""
    name: str = request.param
    return name
