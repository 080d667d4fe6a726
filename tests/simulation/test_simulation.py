"""Outages in the fast session: no invariant breaks, and a seed is all that it takes to see one again.

Hundreds of them here, and a million in the session `simulation`, which takes hours of all cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count, islice
from pathlib import Path

import pytest

from simulation.scenarios import is_small, play
from simulation.totals import BATCH, Totals, again, play_range

HERE = Path(__file__).parent
OUTAGES = 200  # in each of the two classes below
WORLDS = 30  # in which they must be found


class Outages:
    """The worlds of some seeds. Several classes, since the tests of one class run in one process."""

    first: int

    def test_no_invariant_breaks(self) -> None:
        totals = play_range(self.first, WORLDS, OUTAGES)
        assert not totals.broken, totals.report()
        assert totals.outages.total() >= OUTAGES, totals.report()
        assert len(totals.outages) >= 12, totals.report()  # kinds of faults


class TestFirstHalf(Outages):
    first = 0


class TestSecondHalf(Outages):
    first = WORLDS


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("hashes", ["1", "2"])
def test_the_command_that_a_failure_names_plays_the_same_world_again(hashes: str) -> None:
    seed = 3
    assert again(seed).split()[2:] == ["--seed", str(seed)]
    result = command(*again(seed).split()[2:], PYTHONHASHSEED=hashes)
    assert result.returncode == 0, result.stderr
    history = play(seed)
    assert result.stdout.startswith("".join(history.lines()))
    assert history.digest() in result.stdout


def test_another_seed_is_another_world() -> None:
    small = list(islice(filter(is_small, count()), 5))
    assert len({play(seed).digest() for seed in small}) == 5


def test_as_many_as_one_likes_are_the_same_on_all_cores_as_on_one() -> None:
    result = command("--outages", "50", "--first", "14975")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == f"{play_range(14975, BATCH).report()}\n"
    assert result.stdout.endswith("seeds that break an invariant: none\n")


def test_a_broken_seed_is_named_with_the_command_that_plays_it_again() -> None:
    totals = Totals(1, 2, broken={7: {"I1": "call 3 asked alpha 9 times"}})
    assert "seed 7 breaks I1: call 3 asked alpha 9 times\n    python tests/simulation --seed 7\n" in totals.report()
    assert totals.report().endswith("seeds that break an invariant: 7")
