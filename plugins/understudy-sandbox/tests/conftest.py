"""The vendors' own SDKs, pointed at the sandbox: retries off, short timeouts, nothing taken from the environment."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from understudy_sandbox import Sandbox
from understudy_sandbox.fixtures import SCRUBBED

if TYPE_CHECKING:
    import anthropic
    import cohere
    import ollama
    import openai
    from google import genai

ROOT = Path(__file__).resolve().parents[3]
RECORDINGS = Path(os.environ.get("UNDERSTUDY_RECORDINGS", ROOT.parent / "shared" / "recordings"))
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

    def make() -> genai.Client:
        options = types.HttpOptions(
            base_url=_understudy_sandbox.gemini.url,
            timeout=int(SECONDS * 1000),
            headers={"X-Server-Timeout": "10"},  # less than that is refused, and the SDK would send the timeout
            retry_options=types.HttpRetryOptions(attempts=1),
            async_client_args={"transport": httpx2.AsyncHTTPTransport()},  # else aiohttp, where that is installed
        )
        return genai.Client(api_key="test-key", vertexai=False, http_options=options)

    return make


@pytest.fixture(scope="session")
def gemini_client(new_gemini_client: Callable[[], genai.Client]) -> Iterator[genai.Client]:
    """One client for all synchronous calls; an asynchronous one cannot be used again once it is closed."""
    client = new_gemini_client()
    yield client
    client.close()


class Recordings:
    """Replies recorded from the real vendors, and how the stand-ins' replies are compared with them."""

    #: What the vendors send and the stand-ins leave out: thoughts nobody asked for, where it was computed, padding.
    LEFT_OUT = (
        *("inference_geo", "serviceTier", "thoughtsTokenCount", ".caller", "org: ", "Help", "LocalizedMessage"),
        *("obfuscation", ".tool_usage", "frequency_penalty", "presence_penalty", "prompt_cache_retention"),
        "system_fingerprint",
        *(".reasoning.context", ".reasoning.mode", ".citations[]"),
    )

    def body(self, name: str, reply: int = 0) -> str:
        """The body of a reply in the one file whose path begins like this."""
        found = [path for path in RECORDINGS.rglob("*.json") if str(path.relative_to(RECORDINGS)).startswith(name)]
        assert len(found) == 1, f"{name}: {found}"
        body = json.loads(found[0].read_text(encoding="utf-8"))["replies"][reply]["body"]
        return body if isinstance(body, str) else json.dumps(body)

    def events(self, body: str) -> list[Any]:
        """The JSON of a stream: of its data lines, or of the lines themselves."""
        lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith(("data: {", "{"))]
        return [json.loads(line) for line in lines]

    def paths(self, document: Any, at: str = "") -> Iterator[str]:
        """Every path in a document with the kind of value there; the members of a list count as one."""
        if isinstance(document, dict):
            for name, value in document.items():
                yield from self.paths(value, f"{at}.{name}")
        elif isinstance(document, list):
            for value in document:
                yield from self.paths(value, f"{at}[]")
        elif document is not None:
            yield f"{at}: {type(document).__name__}"

    def same_shape(self, ours: Any, theirs: Any) -> None:
        """Compare every path and kind of value."""
        mine, real = set(self.paths(ours)), set(self.paths(theirs))
        assert mine - real == set()
        assert {path for path in real - mine if not any(one in path for one in self.LEFT_OUT)} == set()


@pytest.fixture(scope="session")
def recordings() -> Recordings:
    """The recordings; without them, whoever asks for them is skipped."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}; set UNDERSTUDY_RECORDINGS to their folder")
    return Recordings()
