"""What is known of the models: the tables, the rows that are made from them, and the reasons for what is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from understudy import LLMFactory
from understudy_ollama.models import (
    CONTEXT,
    DEFAULT_MODEL,
    LEAST,
    THINKING,
    WHY_SENT,
    full_name,
    rules,
    runs_elsewhere,
    thinks,
)

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("gemma4", "gemma4:latest"),
        ("gemma4:31b", "gemma4:31b"),
        ("library/Gemma4", "gemma4:latest"),
        ("registry.ollama.ai/library/gemma4:e4b", "gemma4:e4b"),
        ("me/gemma4", "me/gemma4:latest"),
        ("hf.co/unsloth/gemma-4-GGUF:Q4_K_M", "hf.co/unsloth/gemma-4-gguf:q4_k_m"),
        ("localhost:5000/me/gemma4", "localhost:5000/me/gemma4:latest"),
    ],
)
def test_names_are_compared_in_full(name: str, full: str) -> None:
    assert full_name(name) == full


@pytest.mark.parametrize(
    ("model", "think", "expected"),
    [
        *((model, None, True) for model in THINKING),
        ("gemma4:31b", None, True),
        ("gemma4", False, False),
        ("gemma4", "low", True),
        ("gpt-oss:20b", False, True),
        ("qwen3:4b-instruct", None, False),
        ("qwen3-coder", None, False),
        ("gemma3", True, False),
        ("gemma4n", None, False),
        ("me/own", None, False),
    ],
)
def test_who_thinks(model: str, think: Any, expected: bool) -> None:
    assert thinks(model, think) is expected


def test_what_was_learned_counts_unless_thinking_is_turned_off() -> None:
    assert thinks("me/own", None, {"me/own:latest"})
    assert not thinks("me/own", False, {"me/own:latest"})


def test_what_runs_elsewhere_says_so_in_its_tag() -> None:
    assert [runs_elsewhere(name) for name in ("gpt-oss:120b-cloud", "glm-5.1:cloud", "cloud", "gemma4")] == [
        *(True, True, False, False)
    ]


def test_every_row_has_a_source_and_a_day_and_the_tables_are_in_them() -> None:
    for rule in rules():
        assert rule.source.startswith("https://")
        assert date.fromisoformat(rule.read) <= date(2026, 11, 30)
        assert rule.rule
    told = " ".join(f"{rule.models} {rule.rule}" for rule in rules())
    known = [*THINKING, *LEAST, *(f"{size:,}" for size in CONTEXT.values()), DEFAULT_MODEL]
    assert [one for one in known if one not in told] == []
    abouts = [rule.about for rule in rules()]
    assert {"default model", "price", "first answer", "thinking", "room to think"} <= set(abouts)


def test_a_reason_is_given_for_whatever_a_default_call_sends(sandbox: Sandbox) -> None:
    with LLMFactory("ollama", [], settings=sandbox.environment(), extensions=[]) as factory:
        assert factory.generate_content("Hello").success
    [request] = sandbox.ollama.requests
    assert request.json["model"] == DEFAULT_MODEL
    sent = set(_fields(request.json)) - {"model", "messages"}
    assert sent == {field for field in WHY_SENT if not field.startswith("not sent: ")}
    left_out = {field.removeprefix("not sent: ") for field in WHY_SENT if field.startswith("not sent: ")}
    assert left_out
    assert left_out.isdisjoint(sent)


def _fields(body: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in body.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"
