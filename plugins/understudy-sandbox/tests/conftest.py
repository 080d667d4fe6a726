"""The vendors' own SDKs, pointed at the sandbox: retries off, short timeouts, nothing taken from the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from understudy_sandbox import Sandbox
from understudy_sandbox.fixtures import SCRUBBED

if TYPE_CHECKING:
    import anthropic
    from google import genai

SECONDS = 5.0  # far more than a loopback reply takes, so that a busy machine fails no test


@pytest.fixture(scope="session", autouse=True)
def _no_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in SCRUBBED:
            patch.delenv(name, raising=False)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session")
def claude_client(_understudy_sandbox: Sandbox, _no_environment: None) -> Iterator[anthropic.Anthropic]:
    """The real Anthropic SDK."""
    import anthropic

    url = _understudy_sandbox.claude.url
    with anthropic.Anthropic(api_key="test-key", base_url=url, max_retries=0, timeout=SECONDS) as client:
        yield client


@pytest.fixture(scope="session")
def new_gemini_client(_understudy_sandbox: Sandbox, _no_environment: None) -> Callable[[], genai.Client]:
    """Makes clients of the real google-genai SDK; the caller closes them."""
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        base_url=_understudy_sandbox.gemini.url,
        timeout=int(SECONDS * 1000),
        retry_options=types.HttpRetryOptions(attempts=1),
    )
    return lambda: genai.Client(api_key="test-key", vertexai=False, http_options=options)


@pytest.fixture(scope="session")
def gemini_client(new_gemini_client: Callable[[], genai.Client]) -> Iterator[genai.Client]:
    """One client for all synchronous calls; an asynchronous one cannot be used again once it is closed."""
    client = new_gemini_client()
    yield client
    client.close()
