"""The checks themselves are checked: without any one of the code's guards, the invariant that it keeps breaks.

A failure here means that a check has a hole, that a guard does nothing, or that it moved: then `guards` is put right,
and `python tests/simulation --guards` finds worlds in which its lack shows.
"""

from __future__ import annotations

from itertools import chain, islice

import pytest

from simulation.checks import CHECKS
from simulation.figures import unsliced
from simulation.guards import GUARDS, Guard, small_worlds
from simulation.mutations import without
from understudy.engine.call_state import CallState
from understudy.health.breaker import Breaker


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_without_a_guard_its_invariant_breaks(guard: Guard) -> None:
    others = islice(small_worlds(), 60)  # looked at only where the guard's own seeds show it no longer
    seed = next(guard.shows_in(chain(guard.seeds, others)), None)
    assert seed is not None, f"{guard.keeps} holds without it in all worlds that were looked at"


def test_every_check_has_a_guard_whose_lack_it_finds() -> None:
    assert {guard.keeps for guard in GUARDS} == set(CHECKS)


def test_a_guard_that_moved_is_missed() -> None:
    with pytest.raises(LookupError, match=r"expected 'now < never' once in Breaker\.admit, found it 0 times"):
        with without(Breaker, "admit", "now < never", "False"):
            pass


def test_a_guard_is_put_back() -> None:
    admit = Breaker.admit
    with GUARDS[0].taken_out(), without(Breaker, "admit", "now < self.until", "False"):
        assert Breaker.admit is not admit
    assert Breaker.admit is admit


def test_the_figures_take_out_a_guard_that_is_there() -> None:
    share_of = CallState.share_of
    with unsliced():
        assert CallState.share_of is not share_of
    assert CallState.share_of is share_of
