"""What goes wrong, and when: episodes of faults at vendors and at the shared store, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

# What a vendor can have, each as often as it is named. `vendors` says what each of them means.
KINDS = (
    *("outage",) * 5,
    *("hang",) * 3,
    *("brownout",) * 3,
    *("quota",) * 2,
    *("slow",) * 2,
    *("stalled",) * 2,
    "dribble",
    "gateway",
    "exhausted",
    "cut",
    "cut",
    "empty",
    "malformed",
    "rejected",
    "locked",
)
STORE_KINDS = ("killed", "flushed", "slow")


@dataclass(slots=True, eq=False)
class Episode:
    """One thing that is wrong for a while.

    Args:
        kind: what.
        begin: when it begins, in seconds on the virtual clock.
        end: when it is over.
        strength: 0 to 1: the share of requests that a brown-out fails, how small a quota is, how late a slow one.
        hinted: whether a refusal for a quota says when to come back.
        met: how many requests it struck.
    """

    kind: str
    begin: float
    end: float
    strength: float = 1.0
    hinted: bool = False
    met: int = 0


def episode(draw: Random, kind: str, begin: float, end: float) -> Episode:
    """Make an episode of a kind, its details drawn at random."""
    return Episode(kind, begin, end, 0.1 + 0.9 * draw.random(), draw.random() < 0.5)


def alternating(
    draw: Random, begin: float, end: float, *, sound: float, wrong: float, kinds: Sequence[str] = KINDS
) -> list[Episode]:
    """Episodes one after another, with sound times between them, of exponential lengths.

    Args:
        draw: gives the random numbers.
        begin: when the first one may begin.
        end: when the last one is over.
        sound: mean seconds between two of them.
        wrong: mean seconds of one.
        kinds: of which kinds they are.
    """
    episodes = []
    now = begin + draw.expovariate(1 / sound)
    while now < end:
        until = min(now + draw.expovariate(1 / wrong), end)
        episodes.append(episode(draw, draw.choice(kinds), now, until))
        now = until + draw.expovariate(1 / sound)
    return episodes


def swizzle(draw: Random, names: Sequence[str], begin: float, end: float, *, step: float) -> dict[str, list[Episode]]:
    """FoundationDB's swizzle-clog: random targets go down one after another, and come back in another order.

    Args:
        draw: gives the random numbers.
        names: the targets.
        begin: when the first one may go down.
        end: when the last one is back.
        step: mean seconds from one event to the next.
    """
    episodes: dict[str, list[Episode]] = {name: [] for name in names}
    now = begin + draw.expovariate(1 / step)
    while now < end:
        chosen = draw.sample(names, draw.randint(1, len(names)))
        kind = draw.choice(("outage", "hang", "outage", "quota"))
        began = {}
        for name in chosen:
            began[name] = now
            now += draw.expovariate(1 / step)
        draw.shuffle(chosen)
        for name in chosen:
            if began[name] < min(now, end):
                episodes[name].append(episode(draw, kind, began[name], min(now, end)))
            now += draw.expovariate(1 / step)
        now += draw.expovariate(1 / (4 * step))
    return episodes


def current(episodes: Sequence[Episode], now: float) -> Episode | None:
    """Return the episode that is on now, of some that do not overlap."""
    return next((one for one in episodes if one.begin <= now < one.end), None)


def is_sound(episodes: Sequence[Episode], begin: float, end: float) -> bool:
    """Whether nothing was wrong from `begin` to `end`."""
    return not any(one.begin <= end + 1e-6 and begin < one.end for one in episodes)
