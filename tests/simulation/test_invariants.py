"""The invariants that no single history shows, and the list of where each of them is checked."""

from __future__ import annotations

import ast
import inspect
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from simulation.checks import CHECKS
from simulation.classic import outage, peak
from simulation.mutations import without
from simulation.places import PLACES
from simulation.replay import check_i14, recorded
from simulation.scenarios import play
from understudy import LLMFactory, Policy
from understudy.engine.call_state import CallState
from understudy.errors import Overloaded, RateLimited, ServerError
from understudy.execution import attempt
from understudy.factory import RUNTIME
from understudy.health import InMemoryHealthStore
from understudy.health.breaker import Breaker
from understudy.health.shared import GuardedStore
from understudy.testing import ScriptedProvider

ROOT = Path(__file__).parents[2]
WORLDS = (3, 31, 34)  # small ones
OUTAGE = {"kind": "outage", "seconds": 60.0, "rate": 2.0}
PRESETS = [Policy.patient(), Policy.eager()]
SHARED = "CallState.__init__.__dict__.setdefault('states', [TargetState() for _ in range(9)])[: len(targets)]"

# ---- where ----


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("invariant", [f"I{number}" for number in range(1, 26)])
def test_every_invariant_is_checked_where_the_list_says(invariant: str) -> None:
    for place in PLACES[invariant]:
        path, _, function = place.partition("::")
        assert function in functions(path), place


def test_no_check_is_missing_in_the_list() -> None:
    listed = {place.partition("::")[2] for places in PLACES.values() for place in places}
    assert {check.__name__ for check in CHECKS.values()} <= listed
    assert len(PLACES) == 25


# ---- the clock ----


@contextmanager
def jumping_clock() -> Iterator[None]:
    """Have the time of day jump by up to a year, forwards and backwards, whenever somebody looks at it."""
    draw, noon = Random(7), time.time()
    with patch("time.time", lambda: noon + draw.uniform(-3e7, 3e7)):
        yield


@pytest.mark.parametrize("seed", WORLDS)
def test_i12_jumps_of_the_wall_clock_change_nothing(seed: int) -> None:
    with jumping_clock():
        assert time.time() != time.time()
        assert play(seed).digest() == play(seed).digest()


def test_i12_a_look_at_the_time_of_day_would_show() -> None:
    looks = "now = self._clock() + 1e-9 * __import__('time').time()"
    with without(InMemoryHealthStore, "give", "now = self._clock()", looks), jumping_clock():
        assert play(WORLDS[0]).digest() != play(WORLDS[0]).digest()


def test_i12_what_is_not_told_which_clock_to_use_takes_a_monotonic_one() -> None:
    assert RUNTIME.clock is time.monotonic
    for store in (InMemoryHealthStore, GuardedStore):
        assert inspect.signature(store).parameters["clock"].default is time.monotonic


def test_i21_chance_of_its_own_would_show() -> None:
    with without(attempt, "failed", "execution.runtime.random()", "__import__('random').random()"):
        random.seed(1)
        assert len({play(seed).digest() for seed in WORLDS * 3}) > len(WORLDS)


# ---- side by side ----


@contextmanager
def often_switching() -> Iterator[None]:
    """Have the interpreter go from thread to thread as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def test_i14_calls_in_threads_decide_as_each_would_alone() -> None:
    script = ["Hello.", ServerError(), ServerError(), "Hello.", RateLimited(), Overloaded()]
    route = [ScriptedProvider("one", script), ScriptedProvider("other", script[2:])]
    policy = Policy.patient(retry_delay=0.0, max_retries=2, breaker=False, max_concurrent_calls=6)
    factory = LLMFactory(route[0], route[1:], policy=policy, settings={}, extensions=[])

    def ask(number: int) -> None:
        if number % 2:
            list(factory.stream_content("Hello"))
        else:
            factory.generate_content("Hello")

    with recorded() as tapes, often_switching(), ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(400)))
    assert len(tapes) == 400
    assert any(tape.verdict is not None and len(tape.verdict.attempts) > 1 for tape in tapes)
    check_i14(tapes)
    assert factory._admission.bulkhead is not None
    assert factory._admission.bulkhead.under_way == 0


def test_i14_a_state_that_calls_share_would_show() -> None:
    with without(CallState, "__init__", "[TargetState() for _ in targets]", SHARED), recorded() as tapes:
        play(WORLDS[0])
    with pytest.raises(AssertionError, match="alone it"):
        check_i14(tapes)


# ---- after an outage ----


@pytest.mark.parametrize("policy", PRESETS, ids=["patient", "eager"])
@pytest.mark.parametrize("seed", [1, 2])
def test_i23_no_crowd_comes_back_when_an_outage_is_over(policy: Policy, seed: int) -> None:
    assert peak(outage(policy, seed=seed, **OUTAGE)) <= 2


def test_i23_without_a_breaker_a_crowd_comes_back() -> None:
    with without(Breaker, "_record_failure", "not policy.breaker", "True"):
        assert peak(outage(Policy.patient(), seed=1, **OUTAGE)) > 2
