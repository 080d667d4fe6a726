"""The contract over providers that break it: each fails the rule that it breaks, and no other."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from understudy_toolkit.conformance import ProviderContract

HERE = Path(__file__).parent / "contract"

BROKEN: dict[str, tuple[str, ...]] = runpy.run_path(str(HERE / "table.py"))["BROKEN"]
run = runpy.run_path(str(HERE / "running.py"))["run"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, str]], str]:
    results: tuple[dict[str, dict[str, str]], str] = run("broken.py", tmp_path_factory.mktemp("broken"), BROKEN)
    return results


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name: str, broken: tuple[dict[str, dict[str, str]], str]) -> None:
    failed = {test.partition("[")[0] for test, outcome in broken[0][f"Test{name}"].items() if outcome == "failed"}
    assert failed == set(BROKEN[name])


def test_every_rule_is_broken_by_somebody() -> None:
    assert set(ProviderContract.standard) == {rule for rules in BROKEN.values() for rule in rules}


def test_the_message_says_what_was_expected_what_was_found_and_what_to_do(
    broken: tuple[dict[str, dict[str, str]], str],
) -> None:
    words = " ".join(broken[1].replace("\nE   ", " ").split())
    assert (
        "expected exactly one request on the socket when the vendor does this: 500; found 2; the factory is the only "
        "retrier, and its record must be true: turn your SDK's retries off"
    ) in words
    assert "found None: the provider would be asked and fail; return settings.missing('PARROT_API_KEY')" in words
    assert "expected TestOverriding to leave test_usage_is_counted as the contract has it" in words
