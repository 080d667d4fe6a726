"""How OpenAI's models reason: the efforts that each takes, its limit, and the tokens that go before the answer.

As the vendor's pages of models and its refusals had it in November 2026. Tokens are words here as everywhere in the
sandbox; how many a model reasons depends on the effort alone, so that a limit without room for them leaves no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from understudy_sandbox.text import THOUGHT, Answer, Asked, compose
from understudy_sandbox.vendors.openai_problem import Problem

#: Tokens of reasoning by effort: medium is what was publicly measured of a limit of 1,500, so 1,024 hold no answer.
TOKENS: Mapping[str, int] = {
    "none": 0,
    "minimal": 4,
    "low": 14,
    "medium": 1_232,
    "high": 6_000,
    "xhigh": 16_000,
    "max": 24_000,
}
_TO_MAX = ("low", "medium", "high", "xhigh", "max")
#: A model's name, the efforts that it takes, and the one that it is asked for where nothing is said; first match first.
_EFFORTS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (r"o\d(-mini)?-deep-research", ("medium",), "medium"),
    (r"o\d", _TO_MAX[:3], "medium"),
    (r"gpt-5-pro", ("high",), "high"),
    (r"gpt-5(\.1)?-codex(?!-max)", _TO_MAX[:3], "medium"),
    (r"gpt-5\.\d-codex", _TO_MAX[:4], "medium"),
    (r"gpt-5\.\d-pro", _TO_MAX[1:4], "medium"),
    (r"gpt-5(?!\.)", ("minimal", *_TO_MAX[:3]), "medium"),
    (r"gpt-5\.1", ("none", *_TO_MAX[:3]), "none"),
    (r"gpt-5\.[2-5]", ("none", *_TO_MAX[:4]), "medium"),
    (r"gpt-6(\.2)?-astra|gpt-6\.[12]-sol", _TO_MAX, "medium"),
    (r"gpt-", ("none", *_TO_MAX), "medium"),
)
#: gpt-5 and later (but their -chat- variants) and the o series reason, and take no sampling parameters then.
_REASONING = re.compile(r"gpt-(?P<major>[5-9]|\d\d)(\.(?P<minor>\d+))?(?!.*-chat)|o\d")


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Whether a request's model reasons, the version in its name, the efforts that it takes, and the one asked for."""

    model: bool
    version: tuple[int, int]
    efforts: tuple[str, ...]
    usual: str
    effort: str | None

    @property
    def on(self) -> bool:
        """Whether the model will reason: it does unless it is told not to, or does not by itself."""
        return self.model and (self.effort or self.usual) != "none"

    @property
    def tokens(self) -> int:
        """How many tokens of reasoning go before the answer."""
        return TOKENS.get(self.effort or self.usual, 0) if self.model else 0


def reasoning(body: Mapping[str, Any]) -> Reasoning:
    """Read what a request says about reasoning, in either API."""
    model = str(body.get("model"))
    found = _REASONING.match(model)
    version = (int(found["major"] or 0), int(found["minor"] or 0)) if found else (0, 0)
    effort = (body.get("reasoning") or {}).get("effort") or body.get("reasoning_effort")
    efforts, usual = next(((takes, usual) for name, takes, usual in _EFFORTS if re.match(name, model)), ((), "none"))
    return Reasoning(found is not None, version, efforts, usual, effort)


def wrong_effort(body: Mapping[str, Any]) -> Problem | None:
    """What the vendor has against the effort, in the words of each of its APIs."""
    asked = reasoning(body)
    taken = tuple(effort for effort in asked.efforts if effort != "max") if "messages" in body else asked.efforts
    if not asked.model or asked.effort in (None, *taken):
        return None
    names = [f"'{effort}'" for effort in taken]
    listed = f"{', '.join(names[:-1])}, and {names[-1]}" if len(names) > 1 else names[0]
    if "messages" in body:
        message = (
            f"Unsupported value: 'reasoning_effort' does not support '{asked.effort}' with this model. "
            f"Supported values are: {listed}."
        )
        return Problem(400, message, "reasoning_effort", "unsupported_value")
    message = (
        f"Unsupported value: '{asked.effort}' is not supported with the '{body['model']}' model. "
        f"Supported values are: {listed}."
    )
    return Problem(400, message, "reasoning.effort", "unsupported_value")


def most_tokens(body: Mapping[str, Any]) -> int | None:
    """The most tokens that a model writes, reasoning included; None where that is not known here."""
    model = str(body.get("model"))
    if not reasoning(body).model:
        return None
    return 100_000 if model.startswith("o") else 272_000 if model.startswith("gpt-5-pro") else 128_000


def answer_after_reasoning(asked: Asked, body: Mapping[str, Any], scripted: str | None) -> Answer:
    """Answer what was asked with what the reasoning leaves of the limit."""
    tokens = reasoning(body).tokens
    if not tokens:
        return compose(asked, scripted)
    if asked.max_tokens is not None and asked.max_tokens <= tokens:
        return Answer("", THOUGHT, (), "length", None, 0, asked.max_tokens)
    left = None if asked.max_tokens is None else asked.max_tokens - tokens
    return replace(compose(replace(asked, max_tokens=left), scripted), thought=THOUGHT, thought_tokens=tokens)
