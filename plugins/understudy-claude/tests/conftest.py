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

from understudy import Finish, LLMFactory, LLMResponse, Request, Settings
from understudy_claude import ClaudeProvider, refusals

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[ClaudeProvider, Request], LLMResponse]
Call = Callable[..., LLMResponse]


def _generate(provider: ClaudeProvider, request: Request) -> LLMResponse:
    return provider.generate(request)


def _stream(provider: ClaudeProvider, request: Request) -> LLMResponse:
    *_, last = provider.stream(request)
    assert isinstance(last, Finish)
    return last.response


def _agenerate(provider: ClaudeProvider, request: Request) -> LLMResponse:
    return asyncio.run(provider.agenerate(request))


def _astream(provider: ClaudeProvider, request: Request) -> LLMResponse:
    async def finish() -> LLMResponse:
        last = None
        async for event in provider.astream(request):
            last = event
        assert isinstance(last, Finish)
        return last.response

    return asyncio.run(finish())


WAYS: dict[str, Ask] = {"generate": _generate, "stream": _stream, "agenerate": _agenerate, "astream": _astream}


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    """What a model has refused in one test is not known in the next, at the same address."""
    refusals.forget()
    yield
    refusals.forget()


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the four calls, as a function that returns the whole answer."""
    return WAYS[request.param]


@pytest.fixture(params=["sdk", "http"])
def lane(request: pytest.FixtureRequest) -> str:
    """Each of the two lanes, as CLAUDE_TRANSPORT names them."""
    return str(request.param)


@pytest.fixture
def provider(sandbox: Sandbox, lane: str) -> Iterator[ClaudeProvider]:
    """A provider in front of the sandbox, on each lane."""
    made = ClaudeProvider(Settings(environment={**sandbox.environment(), "CLAUDE_TRANSPORT": lane}))
    yield made
    made.close()


@pytest.fixture
def factory(sandbox: Sandbox) -> Iterator[LLMFactory]:
    """A factory that knows Claude alone, in front of the sandbox."""
    with LLMFactory("claude", [], settings=sandbox.environment(), extensions=[]) as made:
        yield made


def _plain(factory: LLMFactory, prompt: Any, **arguments: Any) -> LLMResponse:
    return factory.generate_content(prompt, **arguments)


def _streamed(factory: LLMFactory, prompt: Any, **arguments: Any) -> LLMResponse:
    *_, last = factory.stream_content(prompt, **arguments)
    assert isinstance(last, Finish)
    return last.response


@pytest.fixture(params=[_plain, _streamed], ids=["plain", "streamed"])
def call(request: pytest.FixtureRequest) -> Call:
    """A call of a factory, plain or as a stream, as a function that returns the whole answer."""
    made: Call = request.param
    return made


def find_recordings() -> Path | None:
    """Return the folder of recorded replies, where there is one."""
    named = os.environ.get("UNDERSTUDY_RECORDINGS")
    folder = Path(named) if named else Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    return folder if (folder / "INDEX.tsv").is_file() else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `recording` every recorded file of this vendor; the test is skipped where there are none."""
    if "recording" not in metafunc.fixturenames:
        return
    folder = find_recordings()
    if folder is None:
        reason = "no recordings: set UNDERSTUDY_RECORDINGS to their folder"
        metafunc.parametrize("recording", [pytest.param(None, marks=pytest.mark.skip(reason))])
        return
    rows = [line.split("\t") for line in (folder / "INDEX.tsv").read_text("utf-8").splitlines()]
    names = [row[0] for row in rows if row[1] == "anthropic"]
    assert names, "the recordings hold nothing of anthropic's"
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
