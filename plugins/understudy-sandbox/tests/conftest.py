"""The vendors' own SDKs, pointed at the sandbox: retries off, short timeouts, nothing taken from the environment."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from understudy_sandbox import Sandbox
from understudy_sandbox.fixtures import SCRUBBED

if TYPE_CHECKING:
    import anthropic
    import cohere
    import ollama
    import openai
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
def openai_client(_understudy_sandbox: Sandbox, _no_environment: None) -> Iterator[openai.OpenAI]:
    """The real OpenAI SDK."""
    openai = pytest.importorskip("openai", reason="the SDK of OpenAI is not installed")
    url = f"{_understudy_sandbox.openai.url}/v1"
    with openai.OpenAI(api_key="test-key", base_url=url, max_retries=0, timeout=SECONDS) as client:
        yield client


@pytest.fixture(scope="session")
def cohere_client(_understudy_sandbox: Sandbox, _no_environment: None) -> Iterator[cohere.ClientV2]:
    """The real Cohere SDK."""
    cohere = pytest.importorskip("cohere", reason="the SDK of Cohere is not installed")
    options = {"max_retries": 0, "timeout": SECONDS, "log_warning_experimental_features": False}
    with cohere.ClientV2(api_key="test-key", base_url=_understudy_sandbox.cohere.url, **options) as client:
        yield client


@pytest.fixture(scope="session")
def ollama_client(_understudy_sandbox: Sandbox, _no_environment: None) -> Iterator[ollama.Client]:
    """The real Ollama SDK."""
    ollama = pytest.importorskip("ollama", reason="the SDK of Ollama is not installed")
    with ollama.Client(host=_understudy_sandbox.ollama.url, timeout=SECONDS) as client:
        yield client


@pytest.fixture(params=[False, True], ids=["plain", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    """Whether the request asks for a stream: both, one after the other."""
    return bool(request.param)


@pytest.fixture(scope="session")
def send() -> Callable[..., tuple[int, str]]:
    """Sends a request without any SDK, and returns the status and the body."""

    def send(url: str, body: Any = None, **headers: str) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"authorization": "Bearer test-key", **headers})
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return send


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
