"""Which model is asked by default, what each supports and refuses, how each thinks, and when models are retired."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from understudy import File, Image, Part, Request, ResponseWarning, Text, Thinking, ToolCall, ToolResult
from understudy_toolkit.model_rules import ModelRule
from understudy_toolkit.thinking import ROOM, SHORT_ANSWER

Version = tuple[int, int]

# The vendor's for classification, extraction and routing: its fastest and cheapest, kept until 2027-10-07 at least, and
# the one of its generation that takes forced tools. claude-sonnet-5-5 costs 20 times as much and thinks at "high".
# https://platform.claude.com/docs/en/models/haiku-5-5/overview, read 2026-11-30
DEFAULT_MODEL = "claude-haiku-5-5"
_PRICE = "$0.10 in, $0.50 out for a million tokens, with a prompt of up to 100,000 tokens; above that $0.50 and $2.50"
_OVERVIEW = "https://platform.claude.com/docs/en/models/haiku-5-5/overview"

# The API requires a limit with every request. 4096 tokens are about 3000 words, and every model so far allows them.
DEFAULT_MAX_TOKENS = 4096

# The header anthropic-version, chosen here and not by the SDK: since 2.0.0 that sends the newest by itself, which takes
# no temperature, top_p or top_k of any model, no document of an assistant, and no citations of a user.
# https://platform.claude.com/docs/en/api/versioning, read 2026-11-30
NEWEST_VERSION = "2026-10-21"
SAMPLING_VERSION = "2023-06-01"
SAMPLING = ("temperature", "top_p", "top_k")

# Levels of effort, from little to much, and those at which some models do not let thinking be turned off.
# https://platform.claude.com/docs/en/build-with-claude/thinking#configuring-thinking, read 2026-11-30
EFFORTS = ("low", "medium", "high", "xhigh", "max")
NEVER_OFF = ("xhigh", "max")

# What is asked for where a model thinks within a budget only, and the caller named none; and the least that it takes.
DEFAULT_BUDGET = 4096
LEAST_BUDGET = 1024

# Seconds between the pings of a stream that has nothing to show: 30.01 were measured at
# https://github.com/frontman-ai/frontman/issues/731, "every ~30s" is in https://github.com/BerriAI/litellm/pull/36024,
# 15 to 30 in https://github.com/anthropics/anthropic-sdk-typescript/issues/998; the longest counts. In bad hours
# streams were silent for longer and went on: https://github.com/anthropics/claude-code/issues/66095. Read 2026-11-30
HEARTBEAT = 30.0
# No ping is known to come before message_start, which waits until the prompt was read: for that, 15 s and 240 s for a
# million tokens are allowed at https://github.com/experientiallabs/experiential/pull/681, read 2026-11-30. So no
# heartbeat is relied on with more than this many tokens.
LONG_PROMPT = 100_000
_BYTES = 4  # of text in a token, as usual for English
_IMAGE = 1600  # tokens


@dataclass(frozen=True, slots=True)
class Traits:
    """What the models of a family support from a version on.

    Args:
        thinks: whether they think without being asked.
        thinking: the types of thinking that they support.
        sampling: whether they accept temperature, top_p and top_k under the older version of the API.
        prefill: whether they continue an assistant's message at the end.
        forced: whether they accept a tool that must be called.
        efforts: the levels of effort that they support.
        effort: the level if none is given.
        most: the most tokens that they write, thinking included.
        off_below: whether thinking is turned off only at levels of effort below NEVER_OFF.
        binds: whether a thinking block is refused once something before it has changed.
    """

    thinks: bool = True
    thinking: tuple[str, ...] = ("adaptive",)
    sampling: bool = False
    prefill: bool = False
    forced: bool = True
    efforts: tuple[str, ...] = EFFORTS
    effort: str = "high"
    most: int = 128_000
    off_below: bool = False
    binds: bool = False


_BUDGETS = ("enabled", "disabled")
_NO_XHIGH = ("low", "medium", "high", "max")


def _older(most: int, *, thinking: tuple[str, ...] = _BUDGETS, efforts: tuple[str, ...] = ()) -> Traits:
    """Describe models from before 4.6: they think within a budget that is asked for, and go on from a begun answer."""
    return Traits(thinks=False, thinking=thinking, sampling=True, prefill=True, efforts=efforts, most=most)


# Thinking: https://platform.claude.com/docs/en/build-with-claude/thinking#configuring-thinking. Effort:
# https://platform.claude.com/docs/en/build-with-claude/effort. Most tokens: the overview of each model there. Sampling,
# prefill and forced tools: the whats-new page of each model, .../docs/en/models/sonnet-5-5/whats-new-sonnet-5-5 and its
# like; that claude-haiku-5-5 takes forced tools: .../docs/en/models/haiku-5-5/migration-guide. Bound thinking blocks:
# https://platform.claude.com/docs/en/build-with-claude/preserved-thinking/prefix-checks. All read 2026-11-30.
# Of claude-fable-5 and forced tools some reports say 400 (browserbase/stagehand#2221), others that it takes them
# (anthropics/claude-cookbooks#854): it is asked, and once more without where it refuses.
_TRAITS: Mapping[str, Mapping[Version, Traits]] = {
    "instant": {(0, 0): _older(4096, thinking=())},
    "haiku": {
        (0, 0): _older(8192, thinking=()),
        (4, 5): _older(64_000),
        (5, 5): Traits(thinking=("adaptive", "disabled"), effort="medium", off_below=True, binds=True),
    },
    "sonnet": {
        (0, 0): _older(8192, thinking=()),
        (4, 0): _older(64_000),
        (4, 6): Traits(thinks=False, thinking=("adaptive", *_BUDGETS), sampling=True, efforts=_NO_XHIGH),
        (5, 0): Traits(thinking=("adaptive", "disabled")),
        (5, 5): Traits(thinking=("adaptive", "between_tools"), forced=False, off_below=True, binds=True),
    },
    "opus": {
        (0, 0): _older(4096, thinking=()),
        (4, 0): _older(32_000),
        (4, 5): _older(64_000, efforts=("low", "medium", "high")),
        (4, 6): Traits(thinks=False, thinking=("adaptive", *_BUDGETS), sampling=True, efforts=_NO_XHIGH),
        (4, 7): Traits(thinks=False, thinking=("adaptive", "disabled")),
        (5, 0): Traits(thinking=("adaptive", "disabled"), off_below=True),
        (5, 5): Traits(forced=False, effort="medium", binds=True),
    },
    "fable": {(0, 0): Traits(), (5, 1): Traits(forced=False, binds=True)},
    "mythos": {
        (0, 0): Traits(thinking=("adaptive", "enabled"), efforts=_NO_XHIGH),  # the preview
        (5, 0): Traits(),
        (5, 1): Traits(forced=False, binds=True),
    },
}
_NEWEST = Traits(forced=False, binds=True)  # an unknown family is assumed to be a future one

_NAME = re.compile(r"claude-([a-z]+)-(?:(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)|preview)")

# Model: the day it ends, and what to ask instead. DEPRECATED_MODELS of anthropic 2.14.0, _data/deprecated_models.py,
# and of those before it; https://platform.claude.com/docs/en/about-claude/model-deprecations. Read 2026-11-30.
_ENDINGS: Mapping[str, tuple[date, str]] = {
    "claude-1.3": (date(2024, 11, 6), "claude-sonnet-5-5"),
    "claude-1.3-100k": (date(2024, 11, 6), "claude-sonnet-5-5"),
    "claude-instant-1.1": (date(2024, 11, 6), "claude-haiku-5-5"),
    "claude-instant-1.1-100k": (date(2024, 11, 6), "claude-haiku-5-5"),
    "claude-instant-1.2": (date(2024, 11, 6), "claude-haiku-5-5"),
    "claude-2.0": (date(2025, 7, 21), "claude-sonnet-5-5"),
    "claude-2.1": (date(2025, 7, 21), "claude-sonnet-5-5"),
    "claude-3-sonnet-20240229": (date(2025, 7, 21), "claude-sonnet-5-5"),
    "claude-3-5-sonnet-20240620": (date(2025, 10, 28), "claude-sonnet-5-5"),
    "claude-3-5-sonnet-20241022": (date(2025, 10, 28), "claude-sonnet-5-5"),
    "claude-3-opus-20240229": (date(2026, 1, 5), "claude-opus-5-5"),
    "claude-3-5-haiku-latest": (date(2026, 2, 19), "claude-haiku-5-5"),
    "claude-3-5-haiku-20241022": (date(2026, 2, 19), "claude-haiku-5-5"),
    "claude-3-7-sonnet-latest": (date(2026, 2, 19), "claude-sonnet-5-5"),
    "claude-3-7-sonnet-20250219": (date(2026, 2, 19), "claude-sonnet-5-5"),
    "claude-3-haiku-20240307": (date(2026, 4, 20), "claude-haiku-5-5"),
    "claude-opus-4-0": (date(2026, 6, 15), "claude-opus-5-5"),
    "claude-opus-4-20250514": (date(2026, 6, 15), "claude-opus-5-5"),
    "claude-sonnet-4-0": (date(2026, 6, 15), "claude-sonnet-5-5"),
    "claude-sonnet-4-20250514": (date(2026, 6, 15), "claude-sonnet-5-5"),
    "claude-mythos-preview": (date(2026, 6, 30), "claude-mythos-5-2"),
    "claude-opus-4-1": (date(2026, 8, 5), "claude-opus-5-5"),
    "claude-opus-4-1-20250805": (date(2026, 8, 5), "claude-opus-5-5"),
    "claude-sonnet-4-5": (date(2026, 11, 30), "claude-sonnet-5-5"),
    "claude-sonnet-4-5-20250929": (date(2026, 11, 30), "claude-sonnet-5-5"),
    "claude-opus-4-5": (date(2027, 1, 22), "claude-opus-5-5"),
    "claude-opus-4-5-20251101": (date(2027, 1, 22), "claude-opus-5-5"),
}


def traits_of(model: str) -> Traits | None:
    """Return what a model supports; None if the name is not one of Anthropic's own."""
    found = _NAME.search(model)
    if found is None:
        return None
    family, major, minor = found.groups()
    version = (int(major or 0), int(minor or 0))  # a preview is older than its model
    rows = _TRAITS.get(family)
    return _NEWEST if rows is None else rows[max(start for start in rows if start <= version)]


def takes_sampling(model: str) -> bool:
    """Return whether a model accepts temperature, top_p and top_k; assumed of names that are not Anthropic's own."""
    traits = traits_of(model)
    return traits is None or traits.sampling


def takes_prefill(model: str) -> bool | None:
    """Return whether a model continues an assistant's message at the end; None if the name does not show it."""
    traits = traits_of(model)
    return None if traits is None else traits.prefill


def heartbeat(request: Request) -> float | None:
    """Return the seconds between the pings of a stream that has nothing to show; None if they are not relied on."""
    tokens = _tokens_of(request.system or "") + _tokens_of("".join(str(tool.parameters) for tool in request.tools))
    tokens += sum(_count(part) for message in request.messages for part in message.parts)
    return HEARTBEAT if tokens <= LONG_PROMPT else None


def _count(part: Part) -> float:
    """Estimate the tokens of a part of a message; a file whose size is not known may be as long as any."""
    match part:
        case Text() | Thinking():
            return _tokens_of(part.text)
        case ToolCall():
            return _tokens_of(str(part.arguments))
        case ToolResult():
            content = part.content
            return _tokens_of(content) if isinstance(content, str) else sum(map(_count, content))
        case File():
            return LONG_PROMPT + 1 if part.data is None else len(part.data) / _BYTES
        case Image():
            return _IMAGE


def _tokens_of(text: str) -> float:
    return (len(text) if text.isascii() else len(text.encode(errors="replace"))) / _BYTES


def ending_warnings(model: str) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model that is retired or has a date for it."""
    if model not in _ENDINGS:
        return ()
    day, successor = _ENDINGS[model]
    return (ResponseWarning("model", f"{model} retires on {day}, or has retired: ask {successor} instead"),)


# ---- for the pages that are made from these tables ----

WHY_SENT: Mapping[str, str] = {
    "max_tokens": "the tokens of the answer, and room to think besides: thoughts count within this limit",
    "output_config.effort": "the answer is to be short and nothing was said of thinking: the least the model offers",
    "header anthropic-version": "chosen by the plugin, so that an upgrade of the SDK changes nothing",
    "not sent: temperature": (
        "this version of the API takes none, nor top_p, nor top_k; of one that the caller names, a warning says so"
    ),
    "not sent: thinking": "the model thinks without being asked; the effort says how much",
}


_READ = "2026-11-30"
_DOCS = "https://platform.claude.com/docs/en"
_THINKING = f"{_DOCS}/build-with-claude/thinking#configuring-thinking"
_EFFORT = f"{_DOCS}/build-with-claude/effort"
_LIMITS = f"{_DOCS}/about-claude/models/overview"
_DEPRECATIONS = f"{_DOCS}/about-claude/model-deprecations"
_LEVELS = ("medium", "high")  # at which models think where no effort is named
_MOST = sorted({traits.most for rows in _TRAITS.values() for traits in rows.values()})


def rules() -> tuple[ModelRule, ...]:
    """Return what is known of the models, as rows with their sources."""
    return (
        ModelRule(
            "default model",
            DEFAULT_MODEL,
            "the vendor's for classification, extraction and routing; its fastest and cheapest; takes forced tools",
            _OVERVIEW,
            _READ,
        ),
        ModelRule("price", DEFAULT_MODEL, _PRICE, _OVERVIEW, _READ),
        ModelRule(
            "API version",
            "all",
            f"{NEWEST_VERSION} is sent; {SAMPLING_VERSION} where one of {', '.join(SAMPLING)} goes along",
            f"{_DOCS}/api/versioning",
            _READ,
        ),
        ModelRule(
            "sampling",
            _where(lambda traits: not traits.sampling),
            f"{', '.join(SAMPLING)} are refused: left out with a warning",
            f"{_DOCS}/api/versioning",
            _READ,
        ),
        ModelRule(
            "prefill",
            _where(lambda traits: not traits.prefill),
            "a begun answer at the end is refused: the request is not sent to them",
            f"{_DOCS}/api/errors#prefill-not-supported",
            _READ,
        ),
        ModelRule(
            "forced tools",
            _where(lambda traits: not traits.forced),
            "a tool that must be called is refused: asked with auto and a warning; of one by name, with that one alone",
            f"{_DOCS}/models/sonnet-5-5/whats-new-sonnet-5-5",
            _READ,
        ),
        ModelRule("thinking", _where(lambda traits: traits.thinks), "think without being asked", _THINKING, _READ),
        ModelRule(
            "thinking",
            _where(lambda traits: "adaptive" in traits.thinking and "enabled" not in traits.thinking),
            "a budget for thinking is refused: adaptive instead, with a warning",
            _THINKING,
            _READ,
        ),
        ModelRule(
            "thinking",
            _where(lambda traits: traits.thinks and not {"disabled", "between_tools"} & {*traits.thinking}),
            "thinking cannot be turned off: effort low instead, with a warning",
            _THINKING,
            _READ,
        ),
        ModelRule(
            "thinking",
            _where(lambda traits: traits.binds),
            "a thinking block is refused after a change before it: asked once more without thinking blocks",
            f"{_DOCS}/build-with-claude/preserved-thinking/prefix-checks",
            _READ,
        ),
        *(
            ModelRule("room to think", _unasked(level), f"{ROOM[level]:,} tokens at {level}", _EFFORT, _READ)
            for level in _LEVELS
        ),
        ModelRule(
            "room to think",
            _where(lambda traits: traits.thinks and "low" in traits.efforts),
            f"{ROOM['low']:,} tokens at low, for an answer of up to {SHORT_ANSWER:,} where nothing is said of thinking",
            _EFFORT,
            _READ,
        ),
        *(ModelRule("limit", _of_most(most), f"{most:,} tokens, thinking included", _LIMITS, _READ) for most in _MOST),
        *(
            ModelRule(
                "ending", model, f"retires on {day}, or has retired: ask {successor} instead", _DEPRECATIONS, _READ
            )
            for model, (day, successor) in _ENDINGS.items()
        ),
    )


def _unasked(level: str) -> str:
    return _where(lambda traits: traits.thinks and traits.effort == level)


def _of_most(most: int) -> str:
    return _where(lambda traits: traits.most == most)


def _where(test: Callable[[Traits], bool]) -> str:
    """Name the models that pass a test, as people write them."""
    return ", ".join(span for family in _TRAITS for span in _spans(family, test))


def _spans(family: str, test: Callable[[Traits], bool]) -> Iterator[str]:
    rows = _TRAITS[family]
    since: Version | None = None
    for start, following in pairwise([*rows, None]):
        assert start is not None  # only the last one is
        if test(rows[start]):
            since = start if since is None else since
        if since is not None and (following is None or not test(rows[following])):
            words = [family.capitalize(), f"from {_written(since)}" * (since != (0, 0))]
            yield " ".join(filter(None, [*words, f"before {_written(following)}" if following else ""]))
            since = None


def _written(version: Version) -> str:
    return ".".join(str(number) for number in version if number)
