"""The failover benchmark: the same faults, the same upstream, Understudy and its peers side by side.

Arguments choose scenarios (by key, such as retry-after) and libraries (by name, such as litellm); none is all of them.
`--part rows` plays the rows of the benchmark alone, `--part crash` the crash test alone. With all scenarios and
libraries, the tables go to docs/failover-benchmark.md too. `--renew` makes the libraries' environments anew.
"""

import argparse
import asyncio
import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import crash
from _environments import HOME, ROOT, python_for
from driver_process import DriverProcess, Ended
from libraries import LIBRARIES, OURS, Library, Variant
from report import Results, Versions, page
from scenarios import SCENARIOS, Result, Scenario, play, warm_up
from upstream_process import Upstream

PAGE = ROOT / "docs" / "failover-benchmark.md"
MARK = "<!-- written by the {part}: {place} -->"
PARTS = {"rows": "failover benchmark", "crash": "crash test"}
AT_ONCE = 16  # cells that are played at the same time: they wait, most of the time
CRASH_LANES = 3  # processes in which ours plays the crash test each way: it is the one that insists longest
STARTING = 4  # libraries that are imported at the same time: they compute


def main() -> None:
    """Read the arguments, play, print and write."""
    parser = argparse.ArgumentParser(prog="failover", description=__doc__)
    parser.add_argument("words", nargs="*", help="keys of scenarios and names of libraries")
    parser.add_argument("--renew", action="store_true", help="make the libraries' environments anew")
    parser.add_argument("--list", action="store_true", help="name the scenarios and libraries")
    parser.add_argument("--part", choices=PARTS, help="play one part alone")
    arguments = parser.parse_args()
    if arguments.list:
        names = [*(one.key for one in SCENARIOS), *(one.key for one in crash.CRASHES), *(one.key for one in LIBRARIES)]
        print("\n".join(names))
        return
    scenarios, crashes, libraries = _chosen(arguments.words, arguments.part)
    missing, pythons = _environments(libraries, arguments.renew)
    libraries = [one for one in libraries if one.name in pythons]
    start = time.monotonic()
    if scenarios:
        results, versions = asyncio.run(_measure(scenarios, libraries, pythons))
        _show("rows", page(results, versions, missing), write=not arguments.words)
        print(f"\n{len(results)} cells in {time.monotonic() - start:.0f} s", file=sys.stderr)
    if crashes:
        verdicts = asyncio.run(_crash(crashes, libraries, pythons))
        _show("crash", crash.page(verdicts, missing), write=not arguments.words)
        print(f"\n{len(verdicts)} crashes in {time.monotonic() - start:.0f} s", file=sys.stderr)


def _show(part: str, text: str, *, write: bool) -> None:
    print(text)
    if write:
        begin, end = (MARK.format(part=PARTS[part], place=place) for place in ("begin", "end"))
        before, _, rest = PAGE.read_text("utf-8").partition(begin)
        PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", "utf-8")


def _chosen(words: list[str], part: str | None) -> tuple[list[Scenario], list[crash.Crash], list[Library]]:
    keys = [scenario.key for scenario in SCENARIOS] + [one.key for one in crash.CRASHES]
    known = [*keys, *(library.key for library in LIBRARIES)]
    for word in words:
        if word not in known and not any(word in library.key for library in LIBRARIES):
            sys.exit(f"expected scenarios or libraries among {', '.join(known)}, found {word!r}")
    every = not set(words) & set(keys)
    scenarios = [one for one in SCENARIOS if (every or one.key in words) and part != "crash"]
    crashes = [one for one in crash.CRASHES if (every or one.key in words) and part != "rows"]
    libraries = [one for one in LIBRARIES if any(word in one.key for word in words)]
    return scenarios, crashes, libraries or [one for one in LIBRARIES if one.on_page]


def _environments(libraries: list[Library], renew: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Return why libraries are missing, and the Python of each of the others."""
    missing, pythons = {}, {}
    for library in libraries:
        try:
            pythons[library.name] = python_for(library.requirements, renew)
        except RuntimeError as error:
            missing[library.name] = str(error)
            print(error, file=sys.stderr)
    HOME.mkdir(parents=True, exist_ok=True)
    return missing, pythons


async def _measure(
    scenarios: list[Scenario], libraries: list[Library], pythons: dict[str, str]
) -> tuple[Results, Versions]:
    results: Results = {}
    lanes = [
        (DriverProcess(library, variant, pythons[library.name], _log(library, variant)), lane)
        for library in libraries
        for arranged in library.variants
        for variant, some in _arrangements(arranged, scenarios)
        for lane in _lanes(some, variant)
    ]
    starting, playing = asyncio.Semaphore(STARTING), asyncio.Semaphore(AT_ONCE)
    try:
        async with Upstream() as upstream:
            await asyncio.gather(*(_start(driver, upstream, starting) for driver, _ in lanes))
            await asyncio.gather(*(_play_lane(driver, lane, upstream, playing, results) for driver, lane in lanes))
    finally:
        await asyncio.gather(*(driver.stop() for driver, _ in lanes))
    return results, {driver.library.name: driver.versions for driver, _ in lanes}


async def _crash(crashes: list[crash.Crash], libraries: list[Library], pythons: dict[str, str]) -> crash.Verdicts:
    """Play the crash test: every library in a process of its own for each way of asking, all at the same time."""
    verdicts: crash.Verdicts = {}
    starting = asyncio.Semaphore(STARTING)
    drivers = [
        (DriverProcess(library, variant, pythons[library.name], _log(library, variant)), stream, lane)
        for library in libraries
        for variant in crash.variants(library)
        for stream in (False, True)
        if stream or not variant.streams_only
        for lane in _crash_lanes(crashes, library)
    ]
    try:
        async with Upstream() as upstream:
            await asyncio.gather(*(_start(driver, upstream, starting) for driver, *_ in drivers))
            await asyncio.gather(*(_crash_one(*driver, upstream, verdicts) for driver in drivers))
    finally:
        await asyncio.gather(*(driver.stop() for driver, *_ in drivers))
    return verdicts


def _crash_lanes(crashes: list[crash.Crash], library: Library) -> list[list[crash.Crash]]:
    lanes = CRASH_LANES if library is OURS else 1
    return [lane for first in range(lanes) if (lane := crashes[first::lanes])]


async def _crash_one(
    driver: DriverProcess, stream: bool, crashes: list[crash.Crash], upstream: Upstream, verdicts: crash.Verdicts
) -> None:
    for one in crashes:
        try:
            verdict = await crash.play(one, driver, upstream, stream=stream)
        except Ended as error:
            verdict = crash.Verdict("FAIL", str(error))
        verdicts[one.key, driver.library.name, driver.variant.name, stream] = verdict
        print(".", end="", file=sys.stderr, flush=True)


def _log(library: Library, variant: Variant) -> Path:
    return HOME / f"{library.key}-{variant.name.replace(' ', '-')}.log"


def _arrangements(variant: Variant, scenarios: list[Scenario]) -> list[tuple[Variant, list[Scenario]]]:
    """Leave what is set in an environment out of the rows without a timeout: it belongs to the timeout."""
    timed = [scenario for scenario in scenarios if scenario.timed]
    if not variant.environment:
        return [(variant, scenarios)]
    untimed = replace(variant, environment={}, lanes=1)
    return [(variant, timed), (untimed, [scenario for scenario in scenarios if not scenario.timed])]


def _lanes(scenarios: list[Scenario], variant: Variant) -> list[list[Scenario]]:
    """Share the scenarios among processes: the quick ones to one, the slow ones to others."""
    lanes: list[list[Scenario]] = [[] for _ in range(variant.lanes + 1)]
    quick, slow = itertools.cycle(lanes[: max(1, variant.lanes - 1)]), itertools.cycle(lanes[-2:])
    for scenario in scenarios:
        next(slow if scenario.is_slow else quick).append(scenario)
    return [lane for lane in lanes if lane]


async def _start(driver: DriverProcess, upstream: Upstream, starting: asyncio.Semaphore) -> None:
    async with starting:
        try:
            await warm_up(driver, upstream)
        except Ended as error:
            print(error, file=sys.stderr)


async def _play_lane(
    driver: DriverProcess, lane: list[Scenario], upstream: Upstream, playing: asyncio.Semaphore, results: Results
) -> None:
    for scenario in lane:
        async with playing:
            try:
                result = await play(scenario, driver, upstream)
            except Ended as error:
                result = Result(missing=str(error))
        results[scenario.key, driver.library.name, driver.variant.name] = result
        print(".", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
