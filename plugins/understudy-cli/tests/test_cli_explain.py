"""`understudy explain`, and what the other commands tell of policies and health."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from understudy import Attempt, Policy, Usage
from understudy.errors import Timeout
from understudy_cli.attempts import as_json, table_of
from understudy_cli.output import dollars

SECRET = "parrot-secret-0123456789"  # the fixture sees to it that no output ever shows it
KEY = {"PARROT_API_KEY": SECRET}
ROUTE = ("-p", "parrot", "-f", "macaw")

# A health store that knows of ten calls in which the parrot failed, as one that processes share would.
NURSE = """
from understudy import Policy, hookimpl
from understudy.health import Claim, Effect, InMemoryHealthStore, Report

store = InMemoryHealthStore()
for call in range(10):
    claim = Claim(call, Policy(), 60.0)
    store.give("parrot/parrot-2/", store.take("parrot/parrot-2/", claim), claim, Report(Effect.FAILURE))
claim = Claim(10, Policy(), 60.0)
begun = Report(Effect.SUCCESS, first=0.25)
store.give("parrot/parrot-2/", store.take("parrot/parrot-2/", claim), claim, begun)
store.give("macaw/parrot-2/", store.take("macaw/parrot-2/", claim), claim, Report(Effect.SUCCESS, 1.25, end=1.25))

@hookimpl
def understudy_health_store(settings):
    return store
"""


@pytest.fixture
def understudy(here: Any) -> Any:
    """The command, run in this process."""
    return here


@pytest.fixture
def nurse(understudy: Any) -> dict[str, str]:
    """Install the health store, and return the environment that selects it."""
    (understudy.home / "cli_nurse.py").write_text(NURSE)
    info = understudy.home / "understudy_nurse-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: understudy-nurse\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[understudy.extensions]\nnurse = cli_nurse\n")
    path = f"{understudy.environment['PYTHONPATH']}:{understudy.home}"
    return {"PYTHONPATH": path, "LLM_EXTENSIONS": "nurse", "MACAW_API_KEY": SECRET, **KEY}


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_who_would_be_asked_comes_first_and_the_table_of_failures_only_with_full(understudy: Any) -> None:
    asked = ("explain", "Why is the sky blue?", *ROUTE, "--max-tokens", "50")
    shown, full = understudy.together(asked, (*asked, "--full"), **KEY)
    told = words(shown.stdout)
    assert told[:3] == [
        "target now time on a passing failure",
        "1 parrot asked: primary 33.3 s 5 retries within 135 s, then the call has failed",
        "parrot-2",
    ]
    assert told[3].startswith("2 macaw skipped: MACAW_API_KEY is not set")
    head = "Policy patient; no deadline; about 5 tokens to read, 50 at most to write."
    assert told[4:-1] == ["parrot-2", "", head]
    assert told[-1] == "What follows each failure: understudy explain --full"
    assert full.stdout == shown.stdout.replace(f"{told[-1]}\n", f"\n{Policy().explain()}\n")
    assert [(done.returncode, done.stderr) for done in (shown, full)] == [(0, ""), (0, "")]
    options = ("--primary", "parrot", "--fallbacks", "parrot:old", "--full")
    shown = understudy("explain", *options, LLM_POLICY="eager", **KEY)
    row = "1 parrot asked: primary 98.3 s up to 1 retry within 0.75 s, then parrot:old"
    assert row in words(shown.stdout)
    assert shown.stdout.endswith(f"\n\n{Policy.eager().explain()}\n")


def test_json_holds_the_plan_the_numbers_and_the_words(process: Any) -> None:
    options = ("--policy", "eager", "--deadline", "30", "--json")
    told = json.loads(process("explain", "-", *ROUTE, *options, stdin="Why is the sky blue?", **KEY).stdout)
    first, second = told["targets"]
    assert (first["label"], first["part"], first["timeout"], first["model"]) == ("parrot", "asked", 30.0, "parrot-2")
    assert (second["part"], second["why"].partition(":")[0]) == ("skipped", "MACAW_API_KEY is not set")
    assert (told["input_tokens"], told["output_tokens"]) == (5, 1024)
    assert (told["policy"]["deadline"], told["policy"]["switch_first"], told["preset"]) == (30.0, True, None)
    assert told["explanation"] == Policy.eager(deadline=30.0).explain()


def test_what_is_wrong_is_a_sentence(understudy: Any) -> None:
    nobody, unknown, wrong, ask = understudy.together(
        ("explain", "-p", "macaw"),
        ("explain", "-p", "parrot", "--policy", "hasty", "--json"),
        ("explain", "-p", "parrot", "--deadline", "-1"),
        ("ask", "hello", "-p", "parrot", "--policy", "hasty"),
        **KEY,
    )
    assert (nobody.returncode, "nobody can be asked" in nobody.stderr) == (1, True)
    assert words(nobody.stdout)[0] == "target now"  # nothing else is there to be told
    expected = "expected a policy among patient, eager, found 'hasty'"
    assert (unknown.returncode, json.loads(unknown.stdout)) == (2, {"error": expected})
    assert (ask.returncode, ask.stderr) == (2, f"error: {expected}\n")
    assert (wrong.returncode, "expected deadline in seconds" in wrong.stderr) == (2, True)


def test_a_shared_health_store_shows_in_plan_status_and_record(understudy: Any, nurse: dict[str, str]) -> None:
    route = {"LLM_PRIMARY_PROVIDER": "parrot", "LLM_FALLBACK_PROVIDERS": "macaw"}
    plan, status, listing, ask = understudy.together(
        ("explain",), ("status",), ("status", "--json"), ("ask", "hello", "--attempts"), **route, **nurse
    )
    skipped, asked = (words(plan.stdout)[number] for number in (1, 3))
    assert re.fullmatch(r"1 parrot skipped: circuit open, back in [\d.]+ s; asked then if macaw fails - -", skipped)
    assert asked.startswith("2 macaw asked: parrot is skipped 98.3 s 5 retries")
    rows = words(status.stdout)
    assert rows[0] == "part provider circuit failures latency model, or what is missing"
    assert re.fullmatch(r"✓ primary parrot open, back in [\d.]+ s 10 0.25 s to begin parrot-2", rows[1])
    assert rows[2] == "✓ fallback 1 macaw closed 0 1.25 s parrot-2"
    assert "the next call asks macaw first" in status.stderr
    health = json.loads(listing.stdout)["primary"]["health"]
    assert (health["state"], health["failures"], 0 < health["free_in"] <= 33) == ("open", 10, True)
    record = words(ask.stderr)
    assert record[0] == "asked outcome seconds waited circuit why"
    assert re.fullmatch(r"parrot skipped - - open circuit open, back in [\d.]+ s", record[1])
    assert re.match(r"macaw answered [\d.]+ - closed after parrot: circuit open", record[2])


def test_ask_follows_the_policy_and_tells_what_kept_it_from_a_retry(understudy: Any) -> None:
    keys = {"MACAW_API_KEY": SECRET, "PARROT_MOOD": "offline", **KEY}
    eager, late, told = understudy.together(
        ("ask", "hello", *ROUTE, "--policy", "eager"),
        ("ask", "hello", "-p", "parrot", "--deadline", "2", "--attempts"),
        ("ask", "hello", "-p", "parrot", "--deadline", "2", "--json"),
        **keys,
    )
    assert eager.stdout == "macaw heard: hello\n"
    assert re.fullmatch(
        r"warning: parrot connection failed, asked again in [\d.]+ s\n"
        r"warning: parrot connection failed, switching to macaw\n",
        eager.stderr,
    )
    decision = "no retry: it would begin too late for the deadline"
    assert any(line.endswith(f"primary; {decision}") for line in late.stderr.splitlines())
    (attempt,) = json.loads(told.stdout)["attempts"]
    assert (attempt["breaker"], attempt["decision"], attempt["cost"]) == ("closed", decision, None)


def test_the_record_has_a_column_for_costs_where_there_are_any() -> None:
    usage = Usage(input_tokens=1000, output_tokens=1000)
    failed = Attempt(target="gemini", provider="gemini", outcome="failed", number=1, failure=Timeout())
    billed = Attempt(
        target="claude", provider="claude", outcome="succeeded", number=1, model="claude-sonnet-5-5", usage=usage
    )
    free = Attempt(target="echo", provider="echo", outcome="succeeded", number=1, model="echo", usage=usage)
    assert "cost" not in headings(failed, free)
    assert "cost" in headings(failed, billed)
    assert "cost" not in headings(failed, billed, paid=False)  # the demo's vendors are stand-ins
    assert as_json(billed)["cost"] == billed.cost != 0


def headings(*attempts: Attempt, **options: bool) -> list[str]:
    return [str(column.header) for column in table_of(attempts, **options).columns]


def test_prices_are_written_for_people() -> None:
    prices = (None, 0.0, 0.00001, 0.00384075, 12.3456)
    assert [dollars(price) for price in prices] == ["-", "free", "<$0.0001", "$0.0038", "$12.35"]


def test_names_are_whole_on_a_narrow_terminal(process: Any) -> None:
    options = ("-p", "parrot:a-model-with-quite-a-long-name", "--full")
    shown = process.on_terminal("explain", *options, COLUMNS="80", **KEY)
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert "parrot:a-model-with-quite-a-long-name" in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "\x1b[1mWhen a target fails\x1b[0m" in shown
