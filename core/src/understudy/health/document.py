"""A target's record as a JSON document: what TargetRecord.dump writes and TargetRecord.load reads.

Each table names the fields of one object, and where it keeps them. All times are of one clock, and `at` is its reading.
On another clock a record keeps these times and shifts that clock, so that its times stay consistent with each other.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

from understudy.health.breaker import Breaker
from understudy.health.latency import SAMPLES, Durations, Failing, Latencies
from understudy.health.rate_windows import Allowance
from understudy.limits import KEYS, Limits
from understudy.target import BreakerState

VERSION = 1  # raised if an older release would misread the document; a new field alone is no reason
LARGEST, MOST = 1e15, 2**63  # bounds of floats and integers: far beyond any time of day, and any call's number


@dataclass(frozen=True, slots=True)
class Kind:
    """What one field holds.

    Args:
        read: makes the value from the document's entry; the second argument names the entry, for errors.
        write: makes the document's entry from the value.
    """

    read: Callable[[Any, str], Any]
    write: Callable[[Any], Any] = lambda value: value


Table: TypeAlias = Mapping[str, tuple[str, Kind]]  # the document's name of a field: the attribute, and what it holds


def dump(record: Any, at: float) -> dict[str, Any]:
    """Return the document of a record.

    Args:
        record: whose; a TargetRecord, whose module imports this one.
        at: seconds on the clock that the record's times are of, now.
    """
    latest = record._allowance
    allowances = [one for one in record._allowances.values() if one is latest or not one.is_unused(at)]
    return {
        "version": VERSION,
        "at": at,
        **_write(record, RECORD),
        "allowances": [_dump_allowance(one) for one in allowances],
    }


def load(record: Any, document: Any) -> float:
    """Fill a new record with what a document says, and return the reading of its clock.

    Raises:
        ValueError: the document is damaged, or its version is a later one.
    """
    version = _whole(_find(document, "version", "the record"), "version")
    if version > VERSION:
        raise ValueError(
            f"expected a record of version {VERSION}, found {version}: a later release of understudy wrote it; upgrade "
            "understudy here"
        )
    if version < 1:
        raise _damaged("version", "a whole number of 1 or more", version)
    at = _number(_find(document, "at", "the record"), "at")
    _read(record, RECORD, document, "")
    if record.breaker._limited and record.breaker.state is BreakerState.OPEN:
        raise _damaged("breaker.limited", "false while breaker.state is open", True)
    allowances = [
        _load_allowance(one, f"allowances[{place}]")
        for place, one in enumerate(_list(_find(document, "allowances", "the record"), "allowances"))
    ]
    record._allowances = {one.limits: one for one in allowances}
    record._allowance = allowances[-1] if allowances else None
    return at


def _write(thing: object, table: Table) -> dict[str, Any]:
    return {name: kind.write(getattr(thing, attribute)) for name, (attribute, kind) in table.items()}


def _read(thing: object, table: Table, document: Any, path: str) -> None:
    for name, (attribute, kind) in table.items():
        value = _find(document, name, path or "the record")
        setattr(thing, attribute, kind.read(value, f"{path}.{name}" if path else name))


def _find(document: Any, name: str, path: str) -> Any:
    if not isinstance(document, Mapping):
        raise _damaged(path, "an object", document)
    if name not in document:
        raise ValueError(f"expected {name} in {path}, found nothing: {_ADVICE}")
    return document[name]


def _damaged(path: str, expected: str, found: object) -> ValueError:
    return ValueError(f"expected {path} as {expected}, found {repr(found)[:60]}: {_ADVICE}")


_ADVICE = "this is not a document of TargetRecord.dump, or it is damaged; delete it: its contents are learnt again"

# ---- what a field may hold ----


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST < value < LARGEST:
        raise _damaged(path, "a number", value)
    return value


def _whole(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST:
        raise _damaged(path, "a whole number of 0 or more", value)
    return value


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _damaged(path, "true or false", value)
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _damaged(path, "a string", value)
    return value


def _state(value: Any, path: str) -> BreakerState:
    if not isinstance(value, str) or value not in set(BreakerState):
        raise _damaged(path, f"one of {', '.join(BreakerState)}", value)
    return BreakerState(value)


def _list(value: Any, path: str, length: int | None = None) -> list[Any]:
    if not isinstance(value, list | tuple) or length not in (None, len(value)):
        raise _damaged(path, "a list" if length is None else f"a list of {length}", value)
    return list(value)


def _list_of(kind: Kind, make: Callable[[Iterable[Any]], Any] = list) -> Kind:
    def read(value: Any, path: str) -> Any:
        return make(kind.read(one, f"{path}[{place}]") for place, one in enumerate(_list(value, path)))

    return Kind(read, lambda values: [kind.write(one) for one in values])


def _row_of(*kinds: Kind, make: Callable[[Iterable[Any]], Any] = tuple) -> Kind:
    """Return the kind of a list in which each position has its own kind."""

    def read(value: Any, path: str) -> Any:
        found = zip(kinds, _list(value, path, len(kinds)), strict=True)
        return make(kind.read(one, f"{path}[{place}]") for place, (kind, one) in enumerate(found))

    return Kind(read, lambda values: [kind.write(one) for kind, one in zip(kinds, values, strict=True)])


def _numbered(make: Callable[[Iterable[Any]], Any]) -> Kind:
    """Return the kind of a mapping by the number of a call or slot: as pairs, since JSON keys are strings."""
    pairs = _list_of(_row_of(WHOLE, NUMBER), make)
    return Kind(pairs.read, lambda values: pairs.write(values.items()))


def _object_of(make: Callable[[], Any], table: Table) -> Kind:
    def read(value: Any, path: str) -> Any:
        thing = make()
        _read(thing, table, value, path)
        return thing

    return Kind(read, lambda thing: _write(thing, table))


def _or_null(stands_for: float | None) -> Kind:
    """Return the kind of a number that null may stand for: JSON has no infinity."""
    return Kind(
        lambda value, path: stands_for if value is None else _number(value, path),
        lambda value: None if value == stands_for else value,
    )


NUMBER, WHOLE, FLAG, TEXT = Kind(_number), Kind(_whole), Kind(_flag), Kind(_text)
KNOWN, PAST, COMING = _or_null(None), _or_null(-inf), _or_null(inf)  # null: not known, never yet, never
STATE = Kind(_state, lambda state: state.value)

# ---- what is kept ----

BREAKER: Table = {
    "state": ("state", STATE),
    "generation": ("generation", WHOLE),
    "until": ("until", NUMBER),
    "trips": ("trips", WHOLE),
    "wanted": ("_wanted", WHOLE),
    "successes": ("_successes", WHOLE),
    "probe": ("_probe", WHOLE),
    "probe_until": ("_probe_until", NUMBER),
    "probes": ("_probes", WHOLE),
    "closed_at": ("_closed_at", PAST),
    "hangs": ("hangs", FLAG),
    "buckets": ("_buckets", _list_of(_row_of(NUMBER, WHOLE, WHOLE, make=list), deque)),
    "failing_calls": ("failing_calls", _numbered(OrderedDict)),
    "streak": ("_streak", _list_of(NUMBER, deque)),
    "streak_began": ("_streak_began", NUMBER),
    "cooldowns": ("_cooldowns", WHOLE),
    "limited": ("_limited", FLAG),
    "limited_calls": ("_refused_calls", _numbered(OrderedDict)),
    "refused": ("refused", TEXT),
    "refusals": ("_refusals", WHOLE),
}
LATENCIES: Table = {
    "average": ("_average", KNOWN),
    "measured": ("_measured", NUMBER),
    "latest": ("_latest", _list_of(NUMBER, lambda values: deque(values, maxlen=SAMPLES))),
    "sampled": ("_sampled", NUMBER),
    "unsorted": ("_unsorted", WHOLE),
    "p95": ("p95", KNOWN),
    "median": ("median", KNOWN),
}
DURATIONS: Table = {name: (name, _object_of(Latencies, LATENCIES)) for name in ("answers", "ends", "first", "gaps")}
FAILING: Table = {"share": ("share", NUMBER), "since": ("_since", NUMBER)}
WINDOW: Table = {"used": ("used", NUMBER), "slices": ("_slices", _list_of(_row_of(NUMBER, NUMBER, make=list), deque))}
ALLOWANCE: Table = {"slots": ("_slots", _numbered(dict))}


def _durations(value: Any, path: str) -> Durations:
    durations = Durations()
    _read(durations, DURATIONS, value, path)
    durations.learn()
    return durations


_OF_BOTH_KINDS = Kind(_durations, lambda durations: _write(durations, DURATIONS))

# Pairs are without thinking and with it.
RECORD: Table = {
    "breaker": ("breaker", _object_of(Breaker, BREAKER)),
    "durations": ("_durations", _row_of(_OF_BOTH_KINDS, _OF_BOTH_KINDS)),
    "failing": ("_failing", _object_of(Failing, FAILING)),
    "slots": ("_slots", WHOLE),
    "under_way": ("_under_way", _row_of(_numbered(dict), _numbered(dict))),
    "answered": ("_answered", PAST),
    "looked": ("_looked", PAST),
    "silence": ("_silent", NUMBER),
    "doubted": ("_doubted", COMING),
}


def _dump_allowance(allowance: Allowance) -> dict[str, Any]:
    return {
        "limits": {name: getattr(allowance.limits, name) for name in KEYS},
        "windows": [_write(window, WINDOW) for _, window in allowance._windows],
        **_write(allowance, ALLOWANCE),
    }


def _load_allowance(value: Any, path: str) -> Allowance:
    allowance = Allowance(_load_limits(_find(value, "limits", path), f"{path}.limits"))
    windows = _list(_find(value, "windows", path), f"{path}.windows", len(allowance._windows))
    for place, (_, window) in enumerate(allowance._windows):
        _read(window, WINDOW, windows[place], f"{path}.windows[{place}]")
    _read(allowance, ALLOWANCE, value, path)
    return allowance


def _load_limits(value: Any, path: str) -> Limits:
    """Return limits without their own check: one in dollars needs prices, which this process may not have."""
    limits = object.__new__(Limits)
    for name in KEYS:
        most = KNOWN.read(_find(value, name, path), f"{path}.{name}")
        if most is not None and most <= 0:
            raise _damaged(f"{path}.{name}", "a number above 0", most)
        object.__setattr__(limits, name, most)
    return limits
