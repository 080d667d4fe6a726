"""What a call costs whose primary refuses, beside the two raw calls that it is made of.

Gemini answers 429, its daily quota is used up, and Claude answers. The raw side calls google-genai, catches the error
and reads the status, and then calls anthropic and reads the text. Aim: at most 1.1 times as much, in CPU time.
"""

import asyncio

from _measure import HEADS, beside, compare, isolate, repeated, repeated_async, show
from _sides import (
    ask,
    ask_claude,
    ask_gemini_refused,
    async_ask,
    async_ask_claude,
    async_ask_gemini_refused,
    async_claude_client,
    claude_client,
    factory,
    gemini_client,
)
from _upstream import upstream

CALLS = 10
SECONDS = 12.0  # for each of the two
AIM = "aim <= +10 %"


def main() -> None:
    """Measure, and print the table."""
    isolate()
    with upstream() as url, asyncio.Runner() as runner:
        both = factory("gemini", ["claude"], url, f"{url}/refuses")
        claude, async_claude, gemini = claude_client(url), async_claude_client(url), gemini_client(f"{url}/refuses")

        def raw() -> None:
            ask_gemini_refused(gemini)
            ask_claude(claude)

        async def async_raw() -> None:
            await async_ask_gemini_refused(gemini)
            await async_ask_claude(async_claude)

        turns = {"raw": repeated(raw, CALLS), "ours": repeated(lambda: ask(both), CALLS)}
        timings = compare(turns, calls=CALLS, seconds=SECONDS)
        rows = beside({"two raw calls": timings["raw"]}, "one failed over", timings["ours"], AIM)
        turns = {
            "raw": repeated_async(runner, async_raw, CALLS),
            "ours": repeated_async(runner, lambda: async_ask(both), CALLS),
        }
        timings = compare(turns, calls=CALLS, seconds=SECONDS)
        rows += beside({"two raw calls, async": timings["raw"]}, "one failed over, async", timings["ours"], AIM)
        claude.close()
        gemini.close()
        for closing in (both.aclose, async_claude.close, gemini.aio.aclose):
            runner.run(closing())
    show(f"A failed-over call over the two raw calls, in microseconds (rounds of {CALLS} calls)", HEADS, rows)


if __name__ == "__main__":
    main()
