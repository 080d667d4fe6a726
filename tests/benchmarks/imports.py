"""What starting costs: importing Understudy, constructing a factory, and the first answer.

Every line is made in fresh interpreters, and a bare interpreter's start is taken off. Aim: `import understudy` takes at
most 30 milliseconds. The first answer of `claude` stands beside the same answer by the raw anthropic SDK, whose import
is most of it.
"""

import subprocess
import sys
import time
from collections.abc import Mapping

from _measure import MILLISECOND, Timing, difference, isolate, show, spread
from _upstream import CLAUDE, upstream

SECONDS = 12.0  # for the light ones
HEAVY_ROUNDS = 3  # several seconds each
BARE = "bare interpreter"
AIMS = {"import understudy": "aim <= 30"}

FACTORY = "factory = LLMFactory('claude', [], settings={'ANTHROPIC_API_KEY': 'key', 'ANTHROPIC_BASE_URL': '%s'})"
LIGHT = {
    BARE: "",
    "import understudy": "import understudy",
    "from understudy import LLMFactory": "from understudy import LLMFactory",
    "LLMFactory('claude')": f"from understudy import LLMFactory; {FACTORY}",
}
HEAVY = {
    BARE: "",
    "import anthropic": "import anthropic",
    "first answer, raw anthropic SDK": (
        "import anthropic; client = anthropic.Anthropic(api_key='key', base_url='%s', max_retries=0);"
        f"client.messages.create(model='{CLAUDE}', max_tokens=9, messages=[{{'role': 'user', 'content': 'hello'}}])"
        ".content[0].text"
    ),
    "first answer, LLMFactory('claude')": (
        f"from understudy import LLMFactory; {FACTORY}; factory.generate_content('hello').raise_for_failure().content"
    ),
}


def start(program: str) -> tuple[float, float]:
    """Run a program in a fresh interpreter and return its CPU time and the wall time, in seconds."""
    began = time.perf_counter()
    told = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport time\nprint(time.process_time())"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(told.stdout), time.perf_counter() - began


def compare_starts(programs: Mapping[str, str], rounds: int, seconds: float) -> dict[str, Timing]:
    """Start the programs in turn, once more than counts, for at least so many rounds and so many seconds."""
    timings = {name: Timing() for name in programs}
    for program in programs.values():
        start(program)  # the first writes the byte code
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or rounds > 0:
        rounds -= 1
        for name, program in programs.items():
            cpu, wall = start(program)
            timings[name].cpu.append(cpu)
            timings[name].wall.append(wall)
    return timings


def rows(timings: Mapping[str, Timing]) -> list[list[str]]:
    """Return the table's lines."""
    bare = timings[BARE]
    return [
        [
            name,
            *spread(timing.cpu, MILLISECOND),
            "" if name == BARE else f"{difference(timing.cpu, bare.cpu) / MILLISECOND:.1f}",
            *spread(timing.wall, MILLISECOND)[:2],
            "" if name == BARE else f"{difference(timing.wall, bare.wall) / MILLISECOND:.1f}",
            AIMS.get(name, ""),
        ]
        for name, timing in timings.items()
    ]


def main() -> None:
    """Measure, and print the tables."""
    isolate()
    heads = ["", "CPU least", "median", "9 of 10", "over bare", "wall least", "median", "over bare", "aim"]
    with upstream() as url:
        light = compare_starts({name: p.replace("%s", url) for name, p in LIGHT.items()}, 3, SECONDS)
        heavy = compare_starts({name: p.replace("%s", url) for name, p in HEAVY.items()}, HEAVY_ROUNDS, 0.0)
    show(f"In fresh interpreters, in milliseconds ({len(light[BARE].cpu)} rounds)", heads, rows(light))
    show(f"The first answer, in milliseconds ({HEAVY_ROUNDS} rounds)", heads, rows(heavy))


if __name__ == "__main__":
    main()
