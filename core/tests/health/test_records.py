"""A target's record as a document: whoever loads it decides as whoever dumped it, after any history."""

import json
import subprocess
import sys
from dataclasses import replace
from math import isclose
from operator import eq
from random import Random
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import claim

from understudy import Limits, Policy
from understudy.engine.timeouts import Learned
from understudy.errors import Effect
from understudy.health import document as documents
from understudy.health.breaker import Breaker
from understudy.health.document import VERSION
from understudy.health.latency import Durations, Failing, Latencies, Latency
from understudy.health.rate_windows import Allowance, Window
from understudy.health.record import LOST, SUSPECT, TargetRecord
from understudy.health.store import Lease, Report, TargetHealth
from understudy.target import BreakerState

EAGER = Policy.eager()
POLICIES = (EAGER, Policy(), Policy.eager(breaker_requests=1, breaker_failures=2, quota_calls=1, breaker_successes=2))
LIMITS = (
    None,
    Limits(requests_per_minute=40, concurrent=1),
    Limits(tokens_per_minute=2000, spend_per_day=5.0),
    Limits(requests_per_minute=4),
)
PAUSES = (0.0, 0.001, 0.3, 1.0, 4.0, 7.0, 60.0, 299.0, 3601.0)  # seconds
TAKEN = (None, 0.4, 2.0, 45.0)  # seconds


class Side:
    """A record, the reading of its clock, and the leases that it gave to calls that have not ended."""

    def __init__(self, now):
        self.record, self.now, self.held = TargetRecord(), now, {}

    def reload(self, clock, age=0.0):
        """Keep the record as a string, and load it where the clock shows another time."""
        text = json.dumps(self.record.dump(self.now), allow_nan=False)
        if clock is None:
            self.now += age
            self.record = TargetRecord.load(json.loads(text))
        else:
            self.now = clock
            self.record = TargetRecord.load(json.loads(text), clock, age)


class Pair:
    """Two records that live through the same; only one of them is dumped and loaded.

    Args:
        draws: decides what they live through.
        equal: whether two answers are.
    """

    def __init__(self, draws, equal=eq):
        self.draws, self.equal, self.calls = draws, equal, 0
        self.sides = Side(1000.0), Side(1000.0)

    def step(self):
        draws = self.draws
        if draws.random() < 0.5:
            self.pass_by(draws.choice(PAUSES) * draws.choice((1.0, draws.random())))
        if draws.random() < 0.1:
            return self.agree(lambda side: side.record.look(side.now, POLICIES[0]))
        if draws.random() < 0.55 or not self.sides[0].held:
            return self.take()
        return self.give()

    def pass_by(self, seconds):
        for side in self.sides:
            side.now += seconds

    def take(self, **more):
        self.calls += 1
        draws, call = self.draws, self.calls
        wanted = claim(
            call,
            draws.choice(POLICIES),
            draws.choice((5.0, 61.0)),
            limits=draws.choice(LIMITS) if draws.random() < 0.4 else None,
            tokens=draws.uniform(1, 900),
            cost=draws.random(),
            forced=draws.random() < 0.1,
            thinks=draws.random() < 0.3,
            streamed=draws.random() < 0.3,
        )
        lease = self.agree(lambda side: side.record.take(replace(wanted, **more), side.now))
        if lease.granted:
            for side in self.sides:
                side.held[call] = side.latest, replace(wanted, **more)
        return lease

    def give(self, call=None, report=None):
        draws = self.draws
        call = call or draws.choice(list(self.sides[0].held))
        report = report or self.draw_report()
        draw = draws.random()

        def end(side):
            lease, wanted = side.held.pop(call)
            return side.record.give(lease, wanted, report, side.now, lambda: draw)

        return self.agree(end)

    def draw_report(self):
        draws, seconds = self.draws, self.draws.choice(TAKEN)
        effect = draws.choice([*Effect, Effect.SUCCESS, Effect.SUCCESS, Effect.FAILURE, Effect.FAILURE])
        return Report(
            effect,
            seconds=seconds,
            end=seconds,
            first=draws.choice(TAKEN),
            gap=draws.choice(TAKEN),
            late=draws.choice((None, None, 30.0)) if effect is Effect.FAILURE else None,
            hint=draws.choice((None, None, 2.0, 40.0)),
            tokens=draws.choice((None, 700.0)),
            cost=draws.choice((None, 0.2)),
            sent=draws.random() < 0.9,
            why="key refused" if effect is Effect.REFUSED else "",
            failed=effect in (Effect.FAILURE, Effect.RATE_LIMITED),
        )

    def agree(self, ask):
        """Ask both the same, and return what both answer."""
        first, second = (ask(side) for side in self.sides)
        for side, answer in zip(self.sides, (first, second), strict=True):
            side.latest = answer
        assert self.equal(first, second), f"{first}\n{second}"
        return first


class Apart(Pair):
    """A pair whose clocks differ: by what a float holds of a time of day, no two moments are nearer than that."""

    def __init__(self, draws):
        super().__init__(draws, near)

    def step(self):
        self.pass_by(self.draws.uniform(0.001, 0.002))
        super().step()


def near(one, other):
    """Whether two answers are equal, but for what rounding makes of their durations."""
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=1e-6, abs_tol=1e-4)
    if isinstance(one, Lease | TargetHealth | Latency | Learned):
        names = type(one).__slots__
        return type(one) is type(other) and all(near(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    return one == other


# ---- it decides alike ----


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 120), st.integers(1, 120))
def test_a_loaded_record_decides_as_the_original_does_after_any_history(seed, before, after):
    pair = Pair(Random(seed))
    for _ in range(before):
        pair.step()
    pair.sides[1].reload(None)
    for _ in range(after):
        pair.step()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, -880.25, 5.5, 1.8e9 + 0.123]), st.sampled_from([0.0, 0.7, 400.0]))
def test_on_the_clock_of_another_machine_it_does_too(seed, clock, age):
    pair = Apart(Random(seed))
    for _ in range(8):
        for _ in range(10):
            pair.step()
        pair.sides[0].now += age  # while nobody had loaded it
        pair.sides[1].reload(clock, age)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_store_elsewhere_may_load_it_for_each_question(seed):
    pair = Pair(Random(seed))
    for _ in range(60):
        pair.sides[1].reload(None)
        pair.step()
    pair.agree(lambda side: side.record.look(side.now, EAGER))


def test_the_histories_reach_every_state_and_every_answer():
    """What the tests above compare is worth as much as what their histories lead to."""
    met = set()
    for seed in range(60):
        pair = Pair(Random(seed))
        for _ in range(150):
            pair.step()
            lease = pair.sides[0].latest
            met.add(getattr(lease, "state", None))
            met.update(
                name for name in ("probe", "slot", "doubt", "changed", "busy", "refused") if getattr(lease, name, 0)
            )
            met.update({getattr(lease, "reason", "")} & {"breaker", "cooldown", "refusal", "1 at once"})
    assert met >= {*BreakerState, "probe", "slot", "changed", "busy", "refused", "cooldown", "refusal", "1 at once"}


def silent():
    """A pair whose target answered twenty calls in two seconds each, and then nobody for a while."""
    pair = Apart(Random(1))
    plain = {"policy": EAGER, "limits": None, "forced": False, "thinks": False, "streamed": False}
    for _ in range(20):
        pair.take(**plain)
        pair.give(pair.calls, Report(Effect.SUCCESS, 2.0, end=2.0))
        pair.pass_by(0.01)
    for _ in range(SUSPECT):
        pair.take(**plain)
    pair.pass_by(7.0)
    assert pair.take(**plain).doubt
    return pair, plain


def test_doubt_in_a_silent_target_goes_on_where_it_was():
    pair, plain = silent()
    pair.sides[1].reload(50.0)
    pair.pass_by(2.9)
    assert pair.take(**plain).granted
    pair.pass_by(0.3)
    assert pair.take(**plain).state is BreakerState.OPEN
    assert pair.agree(lambda side: side.record.look(side.now, EAGER)).suspect


def test_requests_that_nobody_will_end_any_more_are_not_kept_for_ever():
    pair, _ = silent()
    pair.pass_by(LOST + 1)
    pair.agree(lambda side: side.record.look(side.now, EAGER))
    assert pair.sides[0].record.dump(0.0)["under_way"] == [[], []]


# ---- the document ----


def lived():
    pair = Pair(Random(7))
    for _ in range(400):
        pair.step()
    for limits in LIMITS:
        pair.take(limits=limits, forced=True)
    return pair.sides[0]


TABLES = [
    (TargetRecord(), documents.RECORD, {"_allowance", "_allowances", "_closed", "_stale_at", "_shift"}),
    (Breaker(), documents.BREAKER, set()),
    (Durations(), documents.DURATIONS, {"learned"}),
    (Latencies(), documents.LATENCIES, {"_ordered"}),
    (Failing(), documents.FAILING, set()),
    (Allowance(Limits()), documents.ALLOWANCE, {"limits", "_windows"}),
    (Window(1, 60.0), documents.WINDOW, {"limit", "seconds", "_slice"}),
]


@pytest.mark.parametrize(("thing", "table", "derived"), TABLES, ids=lambda value: type(value).__name__)
def test_whatever_it_knows_is_written_or_follows_from_what_is(thing, table, derived):
    assert {attribute for attribute, _ in table.values()} == set(type(thing).__slots__) - derived


def test_it_holds_no_part_of_the_record_that_changes_later():
    side = lived()
    document = side.record.dump(side.now)
    before = json.dumps(document)
    TargetRecord.load(document).give(*next(iter(side.held.values())), Report(Effect.FAILURE), side.now, lambda: 0.0)
    side.record.breaker._buckets[-1][1] += 1
    assert json.dumps(document) == before


def test_limits_that_a_program_had_once_are_left_out_when_their_windows_are_over():
    record = TargetRecord()
    for place, limits in enumerate(LIMITS[1:]):
        wanted = claim(place, limits=limits)
        record.give(record.take(wanted, place), wanted, Report(Effect.SUCCESS, tokens=5.0), place, lambda: 0.0)
    assert len(record.dump(3.0)["allowances"]) == 3
    (latest,) = record.dump(90_000.0)["allowances"]
    assert latest["limits"]["requests_per_minute"] == 4


def test_it_is_small():
    record, now = TargetRecord(), 1.8e9
    assert len(json.dumps(record.dump(now))) < 1_600
    draws = Random(3)
    for call in range(2000):
        now += draws.random()
        wanted = claim(2**62 - call, thinks=call % 2 == 0, streamed=call % 3 == 0, limits=LIMITS[call % 4], forced=True)
        lease = record.take(wanted, now)
        took = draws.random()
        effect = Effect.FAILURE if call % 5 == 0 else Effect.SUCCESS
        report = Report(effect, took, took, took, took)
        record.give(lease, wanted, report, now, draws.random)
    assert 15_000 < len(json.dumps(record.dump(now))) < 25_000


# What version 1 looks like: it must load for as long as VERSION is 1.
FIRST = """{
    "version": 1, "at": 1000.0,
    "breaker": {"state": "open", "generation": 3, "until": 1004.5, "trips": 1, "wanted": 1, "successes": 0, "probe": 0,
        "probe_until": 0.0, "probes": 2, "closed_at": null, "hangs": false, "buckets": [[998, 2, 1], [999, 8, 8]],
        "failing_calls": [[4611686018427387903, 998.2], [8, 999.5]], "streak": [998.2, 999.5], "streak_began": 998.2,
        "cooldowns": 0, "limited": false, "limited_calls": [[7, 990.0]], "refused": "", "refusals": 0},
    "durations": [
        {"answers": {"average": 1.5, "measured": 998.0, "latest": [1.5, 1.5], "sampled": 998.0, "unsorted": 2,
            "p95": null, "median": null},
         "ends": {"average": null, "measured": 0.0, "latest": [], "sampled": 0.0, "unsorted": 0, "p95": null,
            "median": null},
         "first": {"average": 0.5, "measured": 998.0, "latest": [0.5], "sampled": 998.0, "unsorted": 1, "p95": 0.7,
            "median": 0.5},
         "gaps": {"average": null, "measured": 0.0, "latest": [], "sampled": 0.0, "unsorted": 0, "p95": null,
            "median": null}},
        {"answers": {"average": null, "measured": 0.0, "latest": [], "sampled": 0.0, "unsorted": 0, "p95": null,
            "median": null},
         "ends": {"average": null, "measured": 0.0, "latest": [], "sampled": 0.0, "unsorted": 0, "p95": null,
            "median": null},
         "first": {"average": null, "measured": 0.0, "latest": [], "sampled": 0.0, "unsorted": 0, "p95": null,
            "median": null},
         "gaps": {"average": null, "measured": 0.0, "latest": [], "sampled": 0.0, "unsorted": 0, "p95": null,
            "median": null}}],
    "failing": {"share": 1.0, "since": 999.5}, "slots": 4, "under_way": [[[9, 999.0]], []], "answered": 998.0,
    "looked": null, "silence": 0.0, "doubted": null,
    "allowances": [{"limits": {"requests_per_minute": 10, "tokens_per_minute": null, "spend_per_day": null,
        "concurrent": 2}, "windows": [{"used": 3.0, "slices": [[998.0, 2.0], [999.0, 1.0]]}], "slots": [[4, 1059.0]]}]
}"""


def test_a_document_of_version_1_loads():
    record = TargetRecord.load(json.loads(FIRST))
    health = record.look(1000.0, EAGER)
    assert (health.state, health.free_in, health.failures) == ("open", 4.5, 9)
    assert (health.answers.seconds, health.first_tokens.p95, health.learned[0].first_median) == (1.5, 0.7, 0.5)
    assert health.left == {"requests a minute": 7.0}
    assert record.dump(1000.0) == json.loads(FIRST)


def test_an_hour_that_nobody_saw_passes_all_the_same():
    record = TargetRecord.load(json.loads(FIRST), now=5.0, age=3600.0)
    health = record.look(5.0, EAGER)
    assert (health.state, health.answers.seconds, health.left) == ("half-open", None, {"requests a minute": 10.0})


def test_fields_of_a_later_release_are_passed_over():
    document = json.loads(FIRST)
    later = [document, document["breaker"], document["durations"][1]["gaps"], document["allowances"][0]["limits"]]
    for each in later:
        each["invented_later"] = {"a": [1]}
    assert TargetRecord.load(document).dump(1000.0) == json.loads(FIRST)


def test_any_mapping_will_do():
    assert TargetRecord.load(MappingProxyType(json.loads(FIRST))).breaker.trips == 1


def test_limits_in_dollars_load_where_no_prices_are_installed():
    side = lived()
    text = json.dumps(side.record.dump(side.now))
    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "genai_prices" else find(name, *more)
import json
from understudy.health.record import TargetRecord
from understudy.limits import Limits
try:
    Limits(spend_per_day=1.0)
except ValueError:
    document = json.load(sys.stdin)
    assert TargetRecord.load(document).dump(document["at"]) == document
else:
    raise AssertionError("expected it to miss the prices")
"""
    subprocess.run([sys.executable, "-c", code], input=text, text=True, check=True)


# ---- what is no document ----


def test_a_later_version_is_told_from_damage():
    document = {"version": VERSION + 1}
    with pytest.raises(
        ValueError, match=r"expected a record of version 1, found 2: a later release .* wrote it; upgrade"
    ):
        TargetRecord.load(document)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("version", 0, "expected version as a whole number of 1 or more, found 0: this is not a document"),
        ("version", "1", "expected version as a whole number of 0 or more, found '1'"),
        ("at", None, "expected at as a number, found None"),
        ("breaker", [], r"expected breaker as an object, found \[\]"),
        ("breaker.state", "ajar", "expected breaker.state as one of closed, open, cooling, half-open, found 'ajar'"),
        ("breaker.trips", True, "expected breaker.trips as a whole number of 0 or more, found True"),
        ("breaker.trips", 2**63, "expected breaker.trips as a whole number of 0 or more, found 9223372036854775808"),
        ("breaker.until", float("nan"), "expected breaker.until as a number, found nan"),
        ("breaker.failing_calls.1", [1], r"expected breaker.failing_calls\[1\] as a list of 2, found \[1\]"),
        ("durations.0.first.latest.0", "1", r"expected durations\[0\].first.latest\[0\] as a number, found '1'"),
        ("under_way", [[]], r"expected under_way as a list of 2, found \[\[\]\]"),
        ("allowances.0.windows", [], r"expected allowances\[0\].windows as a list of 1, found \[\]"),
        ("allowances.0.limits.concurrent", 0, r"limits.concurrent as a number above 0, found 0"),
    ],
)
def test_damage_is_named_with_its_place_and_what_to_do(path, value, words):
    document = json.loads(FIRST)
    set_at(document, path.split("."), value)
    with pytest.raises(ValueError, match=words):
        TargetRecord.load(document)


@pytest.mark.parametrize("document", [None, "", [], 3, "{}"])
def test_what_is_no_object_is_no_document(document):
    with pytest.raises(ValueError, match="expected the record as an object, found"):
        TargetRecord.load(document)


def test_each_field_that_is_missing_is_named():
    for keys in paths(json.loads(FIRST)):
        if isinstance(keys[-1], str):
            document = json.loads(FIRST)
            inner = document
            for key in keys[:-1]:
                inner = inner[key]
            del inner[keys[-1]]
            with pytest.raises(ValueError, match=f"expected {keys[-1]} in .*, found nothing: this is not a document"):
                TargetRecord.load(document)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, True, -1, 0, 7, 2.5, 1e300, "x", [], [[]], [[1, 2]], {}]))
def test_damage_anywhere_is_an_error_at_once_or_none_later(seed, value):
    draws = Random(seed)
    document = json.loads(FIRST)
    set_at(document, draws.choice(paths(document)), value)
    try:
        record = TargetRecord.load(document)
    except ValueError:
        return
    pair = Pair(draws)
    for side in pair.sides:
        side.record = record
    pair.agree = lambda ask: setattr(pair.sides[0], "latest", ask(pair.sides[0])) or pair.sides[0].latest
    pair.sides = pair.sides[:1]
    for _ in range(30):
        pair.step()
    json.dumps(record.dump(pair.sides[0].now), allow_nan=False)


def paths(document, before=()):
    """Return the path of everything in a document."""
    if isinstance(document, dict | list):
        inner = document.items() if isinstance(document, dict) else enumerate(document)
        return [found for key, one in inner for found in ((*before, key), *paths(one, (*before, key)))]
    return []


def set_at(document, keys, value):
    for key in keys[:-1]:
        document = document[int(key) if isinstance(document, list) else key]
    document[int(keys[-1]) if isinstance(document, list) else keys[-1]] = value
