"""Plays one world again, or as many as it takes: see `python tests/simulation --help`."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from simulation.totals import Totals, examine, play_outages  # only now it can be found


def main() -> int:
    """Do what the arguments say; 1 where an invariant is broken."""
    parser = argparse.ArgumentParser(prog="python tests/simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this world, and print its history and what it breaks")
    parser.add_argument("--outages", type=int, default=1_000_000, help="play so many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--guards", action="store_true", help="print worlds in which the lack of each guard shows")
    arguments = parser.parse_args()
    if arguments.guards:
        return find_guards()
    if arguments.seed is not None:
        return play_one(arguments.seed)
    return play_many(arguments.outages, arguments.first)


def play_one(seed: int) -> int:
    """Play one world."""
    history, found = examine(seed)
    sys.stdout.writelines(history.lines())
    print(f"seed {seed}: {len(history.calls)} calls, {history.outages} outages, history {history.digest()}")
    for name, words in found.items():
        print(f"broken: {name}: {words}")
    return 1 if found else 0


def find_guards() -> int:
    """Look for small worlds in which the lack of each guard shows; 1 where there are none for one of them."""
    from simulation.guards import GUARDS, small_worlds

    lacking = 0
    for guard in GUARDS:
        seeds = list(islice(guard.shows_in(small_worlds()), 2))
        lacking += not seeds
        print(f"{guard}: {', '.join(map(str, seeds)) or 'none'}", flush=True)
    return 1 if lacking else 0


def play_many(outages: int, first: int) -> int:
    """Play many worlds, and say now and then how far it is."""
    totals, told = Totals(), time.monotonic()
    for totals in play_outages(outages, first):
        if time.monotonic() - told >= 10:
            told = time.monotonic()
            told_so_far = f"{totals.outages.total():,} of {outages:,} outages, {len(totals.broken)} seeds broken"
            print(told_so_far, file=sys.stderr, flush=True)
    print(totals.report())
    return 1 if totals.broken else 0


if __name__ == "__main__":
    sys.exit(main())
