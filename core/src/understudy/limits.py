"""What a caller allows a target: requests, tokens, dollars, and calls at once.

    LLMFactory("gemini", ["claude"], limits={"gemini": Limits(requests_per_minute=10)})

or in `understudy.toml`:

    [limits.gemini]
    requests_per_minute = 10

A target whose limit is reached is skipped like one that cools down, before its vendor has to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that is asked of one target. None stands for no limit.

    Args:
        requests_per_minute: attempts within any 60 seconds, 1 or more.
        tokens_per_minute: tokens read and written within any 60 seconds, 1 or more. What a request will need is
            estimated beforehand (`understudy.extras.pricing.estimate_tokens`) and corrected by what the vendor counted.
        spend_per_day: US dollars within any 24 hours, above 0, by the prices of genai-prices: the extra "prices".
        concurrent: calls under way at once, 1 or more.

    Raises:
        ValueError: a number is out of its range, or there is a limit in dollars and genai-prices is not installed.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    spend_per_day: float | None = None
    concurrent: int | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute", "concurrent"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ValueError(f"expected {name} as a whole number of 1 or more, found {value!r}")
        dollars = self.spend_per_day
        if dollars is None:
            return
        if not isinstance(dollars, int | float) or isinstance(dollars, bool) or not 0 < dollars < float("inf"):
            raise ValueError(f"expected spend_per_day in US dollars, more than 0, found {dollars!r}")
        if find_spec("genai_prices") is None:
            raise ValueError(
                "expected the package genai-prices for spend_per_day, found none: pip install 'understudy[prices]'"
            )


KEYS = tuple(field.name for field in fields(Limits))


def find_limits(limits: Mapping[str, Limits], label: str, provider: str) -> Limits | None:
    """Return a target's limits: those of its label, else those of its provider's name; None where there are none."""
    return limits.get(label) or limits.get(provider)
