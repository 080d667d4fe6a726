"""Makes mistakes of one line in engine, health, execution and discovery, and runs the tests that should notice each.

    python tests/mutants                    a sample of all that can be made
    python tests/mutants --most 20 engine   twenty, in modules whose name has "engine"

A mistake that no test notices is named at the end, but for those that change nothing (see reasons.py). The exit status
is 1 where more than the share that is allowed is left.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mutants.mutation import Mutation, mutations_of  # only now it can be found
from mutants.reasons import REASONS

TESTS = Path(__file__).resolve().parents[1]
CORE = TESTS.parent / "core" / "tests"
ALL = [CORE, TESTS / "simulation" / "test_simulation.py"]
ROOMS = ("engine", "health", "execution", "discovery")
MOST = 200
ALLOWED = 0.03  # share of mistakes that may stay unnoticed
LONGEST = 600.0  # seconds for the tests: a mistake with which they take longer is noticed, since something hangs
NOTICED, UNNOTICED = "noticed", "not noticed"


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python tests/mutants", description=__doc__.partition("\n\n")[0])
    parser.add_argument("words", nargs="*", help="parts of modules' names; none is all")
    parser.add_argument("--most", type=int, default=MOST, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which of them (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    arguments = parser.parse_args()
    chosen = choose(arguments.words, arguments.most, arguments.seed)
    if run_tests(None, ALL):
        sys.exit("The tests fail without a mistake, so they cannot notice one.")
    start, results = time.monotonic(), {}
    with ThreadPoolExecutor(arguments.at_once) as pool:
        for mutation, result in zip(chosen, pool.map(examine, chosen), strict=True):
            results[mutation] = result
            print(f"{result:12} {mutation}", flush=True)
    return report(results, time.monotonic() - start)


def choose(words: list[str], most: int, seed: int) -> list[Mutation]:
    """Return a sample of the mistakes that can be made, always the same for a seed and a state of the code."""
    found = []
    for room in ROOMS:
        spec = find_spec(f"understudy.{room}")
        assert spec is not None
        assert spec.submodule_search_locations
        for path in sorted(Path(spec.submodule_search_locations[0]).glob("[!_]*.py")):
            module = f"understudy.{room}.{path.stem}"
            if not words or any(word in module for word in words):
                found += mutations_of(module, path)
    return sorted(Random(seed).sample(found, min(most, len(found))))


def examine(mutation: Mutation) -> str:
    """Run the tests that should notice a mistake: those of its own room first, then those of all rooms."""
    room = CORE / mutation.module.split(".")[1]
    others = [CORE / name for name in ("engine", "health", "execution") if CORE / name != room]
    for folders in ([room], others, ALL):
        if run_tests(mutation, folders):
            return NOTICED
    return UNNOTICED


def run_tests(mutation: Mutation | None, folders: list[Path]) -> bool:
    """Return whether a test fails, or the tests do not end."""
    environment = os.environ | {"UNDERSTUDY_MUTATION": mutation.dump() if mutation else "", "PYTHONPATH": str(TESTS)}
    plain = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "mutants.mutant_plugin", "-m", "not timing"]
    command = [sys.executable, "-m", "pytest", *plain, *map(str, folders)]
    try:
        done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def report(results: dict[Mutation, str], seconds: float) -> int:
    """Print what came of it; return the exit status."""
    rooms = Counter(mutation.module.split(".")[1] for mutation in results)
    left = [mutation for mutation, result in results.items() if result == UNNOTICED]
    unexplained = [mutation for mutation in left if (mutation.module, mutation.old, mutation.new) not in REASONS]
    print(f"\n{len(results)} mistakes ({', '.join(f'{n} in {room}' for room, n in rooms.items())}) in {seconds:.0f} s")
    print(f"{len(left)} not noticed, {len(left) - len(unexplained)} of them with a reason")
    for mutation in left:
        reason = REASONS.get((mutation.module, mutation.old, mutation.new), "NO REASON IS GIVEN")
        print(f"  {mutation}\n    {reason}")
    return 1 if len(unexplained) > ALLOWED * len(results) else 0


if __name__ == "__main__":
    sys.exit(main())
