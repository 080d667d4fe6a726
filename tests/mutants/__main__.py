"""Makes mistakes of one line in engine, health, execution and discovery, and runs the tests that should notice each.

    python tests/mutants                    a sample of all that can be made, the same each time
    python tests/mutants --seed 2           another sample
    python tests/mutants --most 20 engine   twenty, in modules whose name has "engine"
    python tests/mutants --state build/m    goes on where it was ended, and keeps what it found there

Each mistake is made in a copy of the package, which comes first on the path: the sources stay as they are, and several
runs can go on side by side. It is noticed if one of the core's tests that reach its line fails, or does not end. A
mistake that no test notices is named at the end, with the reason why none can (see reasons.py). The exit status is 1
where a mistake of named.py is not noticed, or where more than the share that is allowed is left, reason or not.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mutants.mutation import Mutation, mutations_of, whole_line  # only now it can be found
from mutants.named import NAMED
from mutants.reasons import REASONS
from mutants.shadow import DOES_NOT_END, ROOMS, Reach, Shadow, measure, package

MOST = 200
SEED = 1
ALLOWED = 0.03  # share of mistakes that may stay unnoticed, with a reason or without
NOTICED, UNNOTICED = "noticed", "NOT NOTICED"


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python tests/mutants", description=__doc__.partition("\n\n")[0])
    parser.add_argument("words", nargs="*", help="parts of modules' names; none is all")
    parser.add_argument("--most", type=int, default=MOST, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="which of them (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--state", type=Path, help="a folder to keep results in, and to go on from")
    parser.add_argument("--again", action="store_true", help="examine once more what was not noticed before")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background it is ignored, also by the tests
    with tempfile.TemporaryDirectory() as temporary:
        state = arguments.state or Path(temporary)
        state.mkdir(parents=True, exist_ok=True)
        named, chosen = named_mistakes(arguments.words), choose(arguments.words, arguments.most, arguments.seed)
        print(f"seed {arguments.seed}: {len(chosen)} mistakes, and {len(named)} that are named", flush=True)
        reach = measure(state / "reach.json")
        results = examine_all([*named, *chosen], reach, state / "results.jsonl", arguments.at_once, arguments.again)
    return report(named, chosen, results)


def path_of(module: str) -> Path:
    """Return the file of one of its modules."""
    return package().parent.joinpath(*module.split(".")).with_suffix(".py")


def named_mistakes(words: list[str]) -> list[Mutation]:
    """Return those that must be noticed whatever the sample is."""
    found = [whole_line(f"understudy.{place}", path_of(f"understudy.{place}"), *rest) for place, *rest in NAMED]
    return [one for one in found if not words or any(word in one.module for word in words)]


def choose(words: list[str], most: int, seed: int) -> list[Mutation]:
    """Return a sample of the mistakes that can be made; it stays the same for a seed where the code stays the same."""
    found: list[Mutation] = []
    for room in ROOMS:
        for path in sorted((package() / room).glob("[!_]*.py")):
            module = f"understudy.{room}.{path.stem}"
            if not words or any(word in module for word in words):
                found += mutations_of(module, path)
    return sorted(found, key=lambda one: one.rank(seed))[:most]


def examine_all(
    mutations: list[Mutation], reach: Reach, path: Path, at_once: int, again: bool
) -> dict[tuple[str, ...], str]:
    """Return what came of each by its key, and write it line by line to a file; what is there already is not repeated.

    Args:
        mutations: the mistakes.
        reach: which tests reach which lines.
        path: the file.
        at_once: how many processes run tests.
        again: whether those that were not noticed are examined once more.
    """
    results: dict[tuple[str, ...], str] = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        known = json.loads(line)
        results[tuple(known["key"])] = known["result"]
    left = [one for one in mutations if one.key not in results or (again and results[one.key] == UNNOTICED)]
    shadows: SimpleQueue[Shadow] = SimpleQueue()
    noticing: set[str] = set()

    def examine(mutation: Mutation) -> None:
        begun, shadow = time.monotonic(), shadows.get()
        try:
            tests = reach.tests_of(mutation)
            failing = shadow.failing_test(mutation, tests)
        finally:
            shadows.put(shadow)
        result, seconds = UNNOTICED if failing is None else NOTICED, round(time.monotonic() - begun, 1)
        results[mutation.key] = result
        noticing.add((failing or "").removesuffix(DOES_NOT_END))
        entry = {"key": mutation.key, "result": result, "by": failing, "tests": len(tests), "seconds": seconds}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        print(f"{result:12} {mutation} ({len(tests)} tests, {seconds:.0f} s; {failing})", flush=True)

    with ThreadPoolExecutor(at_once) as pool, tempfile.TemporaryDirectory() as folder:
        for number in range(at_once):
            shadows.put(Shadow(package(), Path(folder, str(number))))
        list(pool.map(examine, left))
        shadow = shadows.get()
        failing = shadow.first_failing([name for name in reach.order if name in noticing])
        for one in [shadow, *(shadows.get() for _ in range(at_once - 1))]:
            one.close()
    if failing is not None:
        sys.exit(f"{failing} fails without a mistake too: what it noticed is noticed by nobody, perhaps.")
    return results


def report(named: list[Mutation], chosen: list[Mutation], results: dict[tuple[str, ...], str]) -> int:
    """Print what came of it; return the exit status."""
    rooms = Counter(mutation.module.split(".")[1] for mutation in chosen)
    left = [mutation for mutation in chosen if results[mutation.key] == UNNOTICED]
    missed = [mutation for mutation in named if results[mutation.key] == UNNOTICED]
    print(f"\n{len(chosen)} mistakes: {', '.join(f'{count} in {room}' for room, count in sorted(rooms.items()))}")
    explained = sum(mutation.key in REASONS for mutation in left)
    print(f"{len(left)} not noticed ({len(left) / max(len(chosen), 1):.1%}), {explained} of them with a reason")
    for mutation in left:
        print(f"  {mutation}\n    {REASONS.get(mutation.key, 'NO REASON IS GIVEN')}")
    for mutation in missed:
        print(f"  {mutation}\n    IS NAMED, AND MUST BE NOTICED")
    return 1 if missed or explained < len(left) or len(left) > ALLOWED * len(chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
