"""What the tests of several plugins share: the four ways to ask, and the recordings of vendors' replies."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy_toolkit.conformance import FaultServer, Reply
from understudy_toolkit.conformance.asking import WAYS, Way

BY_NAME = {way.name: way for way in WAYS}
STREAMS = [way.name for way in WAYS if way.streams]
WHOLE = [way.name for way in WAYS if not way.streams]
RECORDED = {  # the vendors in the index of the recordings that each plugin speaks to
    "understudy-claude": ("anthropic",),
    "understudy-cohere": ("cohere",),
    "understudy-ollama": ("ollama",),
    "understudy-openai": ("openai", "azure", "groq", "mistral"),
}
NO_RECORDINGS = "no recordings: set UNDERSTUDY_RECORDINGS to their folder"


@pytest.fixture(params=BY_NAME)
def ask(request: pytest.FixtureRequest) -> Way:
    """Each of the four calls, as a function that returns the whole answer."""
    return BY_NAME[request.param]


@pytest.fixture(params=WHOLE)
def ask_whole(request: pytest.FixtureRequest) -> Way:
    """The two calls that bring a whole answer."""
    return BY_NAME[request.param]


@pytest.fixture(params=STREAMS)
def ask_stream(request: pytest.FixtureRequest) -> Way:
    """The two calls that stream."""
    return BY_NAME[request.param]


@pytest.fixture(params=["sdk", "http"])
def lane(request: pytest.FixtureRequest) -> str:
    """Each of the two lanes, as NAME_TRANSPORT names them."""
    return str(request.param)


@pytest.fixture
def elsewhere() -> Iterator[FaultServer]:
    """A server that keeps what it is sent, and answers 503."""
    with FaultServer(lambda request: Reply("busy", 503)) as server:
        yield server


def find_recordings() -> Path | None:
    """Return the folder of recorded replies, where there is one."""
    named = os.environ.get("UNDERSTUDY_RECORDINGS")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "recordings"
    return folder if (folder / "INDEX.tsv").is_file() else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `recording` every recorded file of a plugin's vendors; the test is skipped where there are none."""
    plugin = next((part for part in metafunc.definition.path.parts if part in RECORDED), None)
    if "recording" not in metafunc.fixturenames or plugin is None:
        return
    folder = find_recordings()
    if folder is None:
        metafunc.parametrize("recording", [pytest.param(None, marks=pytest.mark.skip(NO_RECORDINGS))])
        return
    rows = [line.split("\t") for line in (folder / "INDEX.tsv").read_text("utf-8").splitlines()]
    names = [row[0] for row in rows if row[1] in RECORDED[plugin]]
    assert {row[1] for row in rows} >= {*RECORDED[plugin]}, "the recordings lack a vendor"
    metafunc.parametrize("recording", [folder / name for name in names], ids=names)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded replies."""
    folder = find_recordings()
    if folder is None:
        pytest.skip(NO_RECORDINGS)
    return folder


@pytest.fixture(scope="session")
def replay(recordings: Path) -> Any:
    """The class that serves a recorded file, from beside the recordings."""
    spec = importlib.util.spec_from_file_location("recorded_replay", recordings / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Replay
