"""Makes replies, streams, files and arguments that are wrong, and says what is not held of them.

    python tests/fuzz                       all parts in turn, for ten minutes
    python tests/fuzz --minutes 1 streams   one of them, for a minute
    python tests/fuzz --seed 7 streams      one round again, with what it finds

A round is a number of examples that a seed stands for. Of each fault the smallest example is shown. The exit status is
1 where there is one.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.corpus import corpus
from fuzz.parts import PARTS, Part, check_one  # only now it can be found

EXAMPLES = 300  # of a round
LONGEST = 300.0  # seconds of an example, after which everything ends with all stacks: something hangs below Python


@dataclass
class Fault:
    """One way in which something is not held.

    Args:
        seed: of the round in which it was found first.
        part: the part that found it.
        example: the smallest that shows it.
        error: what was raised.
    """

    seed: int
    part: str
    example: str
    error: str
    count: int = 1


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__.partition("\n\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none is all")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="only the rounds of this seed, whatever time they take")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of a round (default: %(default)s)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        parser.error(f"expected parts among {', '.join(PARTS)}, found {', '.join(unknown)}")
    chosen = [PARTS[name] for name in arguments.parts or PARTS]
    corpus()  # recorded now, since it draws at random
    found: dict[str, Fault] = {}
    end = time.monotonic() + 60 * arguments.minutes
    number, total = arguments.first if arguments.seed is None else arguments.seed, 0
    while arguments.seed == number or (arguments.seed is None and time.monotonic() < end):
        for part in chosen:
            if arguments.seed is None and time.monotonic() >= end:
                break
            begin = time.monotonic()
            total += (count := play(part, number, arguments.examples, found))
            print(f"{part.name}, seed {number}: {count} examples in {time.monotonic() - begin:.0f} s", flush=True)
        number += 1
    return report(found, total)


def play(part: Part, number: int, examples: int, found: dict[str, Fault]) -> int:
    """Play a round; note what is not held."""
    count = 0

    @seed(number)
    @settings(
        *(),
        max_examples=max(1, examples // part.cost),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(part.examples())
    def run(example: Any) -> None:
        nonlocal count
        count += 1
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        error = check_one(part, example)
        faulthandler.cancel_dump_traceback_later()
        if error is not None:
            note(found, part, number, example, error)

    run()
    return count


def note(found: dict[str, Fault], part: Part, number: int, example: Any, error: BaseException) -> None:
    """Note a fault; of the same the smaller example."""
    key, shown = part.key_of(example, error), part.shown(example)
    fault = found.get(key)
    if fault is None:
        found[key] = Fault(number, part.name, shown, described(error))
        print(f"  seed {number}: {key}", flush=True)
        return
    fault.count += 1
    if len(shown) < len(fault.example):
        fault.example, fault.error = shown, described(error)


def described(error: BaseException) -> str:
    """Return an error with where it, and what it comes from, was raised in our sources."""
    import traceback

    lines = []
    link: BaseException | None = error
    while link is not None:
        lines.append(f"{type(link).__name__}: {str(link)[:1500]}")
        frames = traceback.extract_tb(link.__traceback__)
        lines += [f"    {frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
        link = link.__cause__ or link.__context__
    return "\n  ".join(lines[:40])


def report(found: dict[str, Fault], total: int) -> int:
    """Print what was found; return the exit status."""
    print(f"\n{total} examples, {len(found)} faults")
    for key, fault in found.items():
        print(f"\n{key} ({fault.count} times; first in {fault.part}, seed {fault.seed})")
        print(f"  {fault.error}\n  {fault.example}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
