"""What the tests share: the four ways to ask, the two APIs, a provider in front of the sandbox, and the recordings."""

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
from understudy_openai import OpenAIProvider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[OpenAIProvider, Request], LLMResponse]
VENDORS = ("openai", "azure", "groq", "mistral")


def _generate(provider: OpenAIProvider, request: Request) -> LLMResponse:
    return provider.generate(request)


def _stream(provider: OpenAIProvider, request: Request) -> LLMResponse:
    *_, last = provider.stream(request)
    assert isinstance(last, Finish)
    return last.response


def _agenerate(provider: OpenAIProvider, request: Request) -> LLMResponse:
    return asyncio.run(provider.agenerate(request))


def _astream(provider: OpenAIProvider, request: Request) -> LLMResponse:
    async def finish() -> LLMResponse:
        last = None
        async for event in provider.astream(request):
            last = event
        assert isinstance(last, Finish)
        return last.response

    return asyncio.run(finish())


WAYS: dict[str, Ask] = {"generate": _generate, "stream": _stream, "agenerate": _agenerate, "astream": _astream}


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the four calls, as a function that returns the whole answer."""
    return WAYS[request.param]


@pytest.fixture(params=[_stream, _astream], ids=["stream", "astream"])
def stream(request: pytest.FixtureRequest) -> Ask:
    """Each of the two calls that stream, as a function that returns the whole answer."""
    way: Ask = request.param
    return way


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    """Each of the two APIs, for options["openai"]."""
    name: str = request.param
    return name


@pytest.fixture(params=["sdk", "http"])
def lane(request: pytest.FixtureRequest) -> str:
    """Each of the two lanes, as OPENAI_TRANSPORT names them."""
    return str(request.param)


@pytest.fixture
def provider(sandbox: Sandbox, lane: str) -> Iterator[OpenAIProvider]:
    """A provider in front of the sandbox, on each lane."""
    made = OpenAIProvider(Settings(environment={**sandbox.environment(), "OPENAI_TRANSPORT": lane}))
    yield made
    made.close()


def find_recordings() -> Path | None:
    """Return the folder of recorded replies, where there is one."""
    named = os.environ.get("UNDERSTUDY_RECORDINGS")
    folder = Path(named) if named else Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    return folder if (folder / "INDEX.tsv").is_file() else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `recording` every recorded file of these vendors; the test is skipped where there are none."""
    if "recording" not in metafunc.fixturenames:
        return
    folder = find_recordings()
    if folder is None:
        reason = "no recordings: set UNDERSTUDY_RECORDINGS to their folder"
        metafunc.parametrize("recording", [pytest.param(None, marks=pytest.mark.skip(reason))])
        return
    rows = [line.split("\t") for line in (folder / "INDEX.tsv").read_text("utf-8").splitlines()]
    names = [row[0] for row in rows if row[1] in VENDORS]
    assert {row[1] for row in rows} >= set(VENDORS), "the recordings lack a vendor"
    metafunc.parametrize("recording", [folder / name for name in names], ids=names)


@pytest.fixture(scope="session")
def replay() -> Any:
    """The class that serves a recorded file, from beside the recordings."""
    folder = find_recordings()
    if folder is None:
        pytest.skip("no recordings: set UNDERSTUDY_RECORDINGS to their folder")
    return _load(folder / "replay.py").Replay


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("recorded_replay", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
