"""What a call costs on each lane: Understudy, the raw SDK and other libraries beside one local upstream.

Arguments choose contestants (such as tensorzero, or understudy for all four of ours); none is all of them, and the raw
SDK plays always. `--rows` chooses rows, `--rounds` how many rounds. With all rows and contestants the page
docs/lanes.md is written. Ctrl-C ends it early, with what it has until then. `--renew` makes the libraries'
environments anew. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _environments import ROOT, python_for
from contestants import CONTESTANTS, REFERENCE, Contestant
from figures import Cell
from page import Played, page
from rows import ROWS, Row
from worker_process import Failed, WorkerProcess, counts, upstream

PAGE = ROOT / "docs" / "lanes.md"
ROUNDS = 11


def main() -> None:
    """Read the arguments, play, print and write."""
    parser = argparse.ArgumentParser(prog="lanes", description=__doc__)
    parser.add_argument("names", nargs="*", help="contestants")
    parser.add_argument("--rows", default="", help="keys of rows, with commas between them")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    parser.add_argument("--renew", action="store_true", help="make the libraries' environments anew")
    parser.add_argument("--list", action="store_true", help="name the rows and the contestants")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join([*(row.key for row in ROWS), *(one.key for one in CONTESTANTS)]))
        return
    wanted = [word for word in arguments.rows.split(",") if word]
    rows = [row for row in ROWS if row.key in wanted or not wanted]
    contestants = [one for one in CONTESTANTS if one is REFERENCE or _is_named(one, arguments.names)]
    _check(wanted, [row.key for row in ROWS], "rows")
    _check([name for name in arguments.names if not any(_is_named(one, [name]) for one in CONTESTANTS)], [], "names")
    begun = time.monotonic()
    played = play(rows, contestants, arguments.rounds, renew=arguments.renew)
    text = page(played)
    print(text)
    if not wanted and not arguments.names:
        PAGE.write_text(text + "\n", "utf-8")
    print(f"\n{played.rounds} rounds in {time.monotonic() - begun:.0f} s", file=sys.stderr)


def play(rows: list[Row], contestants: list[Contestant], rounds: int, *, renew: bool) -> Played:
    """Play all rounds: in each, every row has a turn of every contestant, who begin in another order each time."""
    played = Played(rows, contestants)
    with upstream() as url:
        workers = _workers(contestants, url, played, renew=renew)
        try:
            for number in range(rounds):
                first, played.rounds = number % len(workers), number + 1
                for row in rows:
                    for worker in [*workers[first:], *workers[:first]]:
                        _play_turn(worker, row, number, url, played)
                    print(".", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            played.is_cut = True
            print("\nended early: what follows is of the rounds until now", file=sys.stderr)
        finally:
            for worker in workers:
                worker.stop()
    played.versions = {worker.contestant.key: worker.versions for worker in workers}
    return played


def _play_turn(worker: WorkerProcess, row: Row, number: int, url: str, played: Played) -> None:
    cell = played.cells.setdefault((row.key, worker.contestant.key), Cell())
    if cell.missing:
        return
    try:
        cell.turns[number] = worker.play(row)
    except Failed as error:
        cell.missing = str(error)
        print(f"\n{worker.contestant.name}, {row.title}: {error}", file=sys.stderr)
    came = counts(url)
    if row.manner == "limited" and number:  # the first round has calls that are not measured, too
        asked = sum(count for path, count in came.items() if path.startswith("/primary/limited/"))
        if asked != row.calls and not cell.missing:
            cell.missing = f"asked the primary {asked} times in {row.calls} calls"


def _workers(contestants: list[Contestant], url: str, played: Played, *, renew: bool) -> list[WorkerProcess]:
    workers, made = [], set()
    for one in contestants:
        try:
            python = python_for(one.requirements, renew and one.requirements not in made)
        except RuntimeError as error:
            played.absent[one.key] = str(error)
            print(error, file=sys.stderr)
            continue
        made.add(one.requirements)
        workers.append(WorkerProcess(one, python, url))
    return workers


def _is_named(one: Contestant, names: list[str]) -> bool:
    return not names or any(one.key == name or one.key.startswith(f"{name}-") for name in names)


def _check(words: list[str], known: list[str], what: str) -> None:
    unknown = [word for word in words if word not in known]
    if unknown:
        sys.exit(f"expected {what} among those that --list names, found {', '.join(unknown)}")


if __name__ == "__main__":
    main()
