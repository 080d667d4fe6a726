"""What a call costs through the factory and a provider's plugin, beside the raw SDK that the plugin is built on.

Both ask the same server with the same words, model, limit and timeout, over connections that stay open, without
retries; the raw side does what its users do: call, and read the text. Aim: at most 3 % more than the raw anthropic SDK
in CPU time; there is none for google-genai. `more` is the median of the rounds.

The factory can come out below: the claude plugin takes the SDK's reply as plain JSON, and the SDK does not build its
models.
"""

import asyncio

from _measure import HEADS, beside, compare, isolate, repeated, repeated_async, show
from _sides import (
    ask,
    ask_claude,
    ask_gemini,
    async_ask,
    async_ask_claude,
    async_ask_gemini,
    async_claude_client,
    claude_client,
    factory,
    gemini_client,
)
from _upstream import upstream

CALLS = 15
SECONDS = 11.0  # for each of the four
AIM = "aim <= 3 %"


def main() -> None:
    """Measure, and print the table."""
    isolate()
    rows = []
    with upstream() as url, asyncio.Runner() as runner, factory("claude", [], url, url) as claude:
        gemini = factory("gemini", [], url, url)
        raw_claude, raw_async_claude, raw_gemini = claude_client(url), async_claude_client(url), gemini_client(url)
        pairs = {
            "anthropic": (
                repeated(lambda: ask_claude(raw_claude), CALLS),
                repeated(lambda: ask(claude), CALLS),
                AIM,
            ),
            "anthropic, async": (
                repeated_async(runner, lambda: async_ask_claude(raw_async_claude), CALLS),
                repeated_async(runner, lambda: async_ask(claude), CALLS),
                AIM,
            ),
            "google-genai": (
                repeated(lambda: ask_gemini(raw_gemini), CALLS),
                repeated(lambda: ask(gemini), CALLS),
                "",
            ),
            "google-genai, async": (
                repeated_async(runner, lambda: async_ask_gemini(raw_gemini), CALLS),
                repeated_async(runner, lambda: async_ask(gemini), CALLS),
                "",
            ),
        }
        for name, (raw, ours, aim) in pairs.items():
            timings = compare({"raw": raw, "ours": ours}, calls=CALLS, seconds=SECONDS)
            rows += beside({f"{name}, raw": timings["raw"]}, f"{name}, factory", timings["ours"], aim)
        gemini.close()
        raw_gemini.close()
        raw_claude.close()
        for each in (claude, gemini):
            runner.run(each.aclose())
        runner.run(raw_async_claude.close())
        runner.run(raw_gemini.aio.aclose())
    show(f"The factory over the raw SDK, in microseconds a call (rounds of {CALLS} calls)", HEADS, rows)


if __name__ == "__main__":
    main()
