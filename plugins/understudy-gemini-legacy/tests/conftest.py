"""What the tests share: the four ways to ask, a provider in front of the sandbox, and the recordings."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Finish, LLMResponse, Request, Settings
from understudy_gemini_legacy import GeminiLegacyProvider, understudy_provider
from understudy_gemini_wire.refusals import forget

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[GeminiLegacyProvider, Request], LLMResponse]


def _generate(provider: GeminiLegacyProvider, request: Request) -> LLMResponse:
    return provider.generate(request)


def _stream(provider: GeminiLegacyProvider, request: Request) -> LLMResponse:
    *_, last = provider.stream(request)
    assert isinstance(last, Finish)
    return last.response


def _agenerate(provider: GeminiLegacyProvider, request: Request) -> LLMResponse:
    return asyncio.run(provider.agenerate(request))


def _astream(provider: GeminiLegacyProvider, request: Request) -> LLMResponse:
    async def finish() -> LLMResponse:
        last = None
        async for event in provider.astream(request):
            last = event
        assert isinstance(last, Finish)
        return last.response

    return asyncio.run(finish())


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """What models refused in one test is forgotten in the next."""
    forget()
    yield
    forget()


WAYS: dict[str, Ask] = {"generate": _generate, "stream": _stream, "agenerate": _agenerate, "astream": _astream}


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the four calls, as a function that returns the whole answer."""
    return WAYS[request.param]


@pytest.fixture(params=[_generate, _agenerate], ids=["generate", "agenerate"])
def ask_whole(request: pytest.FixtureRequest) -> Ask:
    """The two calls that bring a whole answer."""
    way: Ask = request.param
    return way


@pytest.fixture(params=[_stream, _astream], ids=["stream", "astream"])
def ask_stream(request: pytest.FixtureRequest) -> Ask:
    """The two calls that stream."""
    way: Ask = request.param
    return way


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


def find_recordings() -> Path | None:
    """Return the folder of recorded replies, where there is one."""
    named = os.environ.get("UNDERSTUDY_RECORDINGS")
    folder = Path(named) if named else Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    return folder if (folder / "INDEX.tsv").is_file() else None


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded replies."""
    folder = find_recordings()
    if folder is None:
        pytest.skip("no recordings: set UNDERSTUDY_RECORDINGS to their folder")
    return folder


@pytest.fixture(scope="session")
def replay(recordings: Path) -> Any:
    """The class that serves a recorded file, from beside the recordings."""
    return _load(recordings / "replay.py").Replay


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("recorded_replay_gemini_legacy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
