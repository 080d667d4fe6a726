"""Healthy days and bad ones in virtual time: the factory's presets beside clients without it, on the same days.

Arguments choose worlds, days and clients by name, and `recipes`; none is all of them, and then the tables go to
docs/healthy-days.md too. Nothing is asserted: what is held is in tests/simulation/healthy.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from playing import NAMES, chosen, play_all  # only now what they import can be found
from report import page

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "healthy-days.md"
BEGIN = "<!-- written by the healthy days benchmark: begin -->"
END = "<!-- written by the healthy days benchmark: end -->"


def main() -> None:
    """Read the arguments, play, print and write."""
    parser = argparse.ArgumentParser(prog="healthy", description=__doc__)
    parser.add_argument("words", nargs="*", help="names of worlds, days and clients, or recipes")
    parser.add_argument("--seeds", default="7", help="of the days that are measured together (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="name the worlds, days and clients")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(NAMES))
        return
    for word in arguments.words:
        if word not in NAMES:
            sys.exit(f"expected names among {', '.join(NAMES)}, found {word!r}")
    seeds = tuple(int(seed) for seed in arguments.seeds.split(","))
    start = time.monotonic()
    results = play_all(chosen(arguments.words), seeds)
    text = page(results, seeds)
    print(text)
    print(f"\n{len(results)} rows in {time.monotonic() - start:.0f} s", file=sys.stderr)
    if not arguments.words:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
