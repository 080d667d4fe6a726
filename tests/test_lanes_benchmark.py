"""The benchmark of the lanes works: real workers ask its upstream, and its figures are what they are said to be."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

LANES = Path(__file__).parent / "benchmarks" / "lanes"


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, LANES, *arguments], capture_output=True, text=True, timeout=300, check=False)


def section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lanes_figures", LANES / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_both_lanes_and_the_raw_sdk_play_every_kind_of_row() -> None:
    rows = ("sync", "async-stream", "failover", "async-large", "cold")
    done = play("understudy-http-patient", "understudy-sdk-eager", f"--rows={','.join(rows)}", "--rounds=1")
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[a-z], .*: ", done.stderr), done.stderr  # who cannot play a row is named there
    lines = section(done.stdout, "CPU per call, as multiples of the raw SDK").strip().splitlines()
    assert lines[0].split("|")[2:-1] == [
        f" {name} " for name in ("openai ", "Understudy http patient", "Understudy sdk eager")
    ]
    assert len(lines) == 2 + len(rows)
    for line in lines[2:]:
        assert re.search(r"\| [\d.]+ ms +\| [\d.]+ +\| [\d.]+ +\|$", line), line


def test_the_page_is_left_alone_where_only_a_part_is_played() -> None:
    page = LANES.parents[2] / "docs" / "lanes.md"
    before = page.stat().st_mtime_ns
    assert play("openai", "--rows=sync", "--rounds=1").returncode == 0
    assert page.stat().st_mtime_ns == before


def test_an_unknown_row_or_contestant_is_told() -> None:
    for argument, word in (("--rows=sink", "rows"), ("understudies", "names")):
        done = play(argument)
        assert done.returncode == 1
        assert f"expected {word} among those that --list names" in done.stderr


def test_ratios_are_taken_within_a_round(figures: ModuleType) -> None:
    def cell(*seconds: float) -> object:
        return figures.Cell({number: figures.Turn(value, value, None) for number, value in enumerate(seconds)})

    # The machine was ten times as slow in one round; of two others, one has no partner.
    one, other = cell(2.0, 20.0, 3.0), cell(1.0, 10.0)
    assert one.over(other, "cpu") == figures.Spread(2.0, 2.0, 2.0)
    assert cell(1.0, 2.0, 3.0, 4.0, 5.0).spread("wall") == figures.Spread(2.0, 3.0, 4.0)
    assert cell(7.0).spread("cpu") == figures.Spread(7.0, 7.0, 7.0)
    assert cell().over(other, "cpu") is None
