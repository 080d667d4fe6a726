"""The contract over providers that keep it, its guard, and the package where pytest is missing."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.testing import ContractSetup, ProviderContract, overrides

run = runpy.run_path(str(Path(__file__).parent / "contract" / "running.py"))["run"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run("good.py", tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("name", ["TestParrot", "TestMynah", "TestPlayer"])
def test_good_providers_keep_every_rule(name: str, good: Any) -> None:
    results = good[0][name]
    assert {test for test, outcome in results.items() if outcome == "failed"} == set()
    assert {test.partition("[")[0] for test in results} == set(ProviderContract.standard)


def test_only_what_does_not_apply_is_skipped(good: Any) -> None:
    skipped = {test.partition("[")[0] for test, outcome in good[0]["TestParrot"].items() if outcome == "skipped"}
    assert skipped == {"test_what_it_does_not_take_is_not_asked_of_it"}  # it takes everything


def test_the_end_of_the_run_counts_the_skips_and_tells_what_is_overridden(good: Any) -> None:
    outcomes = list(good[0]["TestParrot"].values())
    assert f"parrot: {outcomes.count('passed')} passed, 0 failed, 1 skipped" in good[1]
    assert "  1 skipped: every capability is on" in good[1]
    assert "  test_its_three_methods_are_there is overridden: to see that it can be done" in good[1]


def test_an_override_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="a sentence that says why"):
        overrides(reason=" ")


def test_a_rule_that_is_taken_away_or_replaced_by_a_base_fails_too() -> None:
    class Mixin:
        def test_usage_is_counted(self) -> None: ...

    class Taken(Mixin, ProviderContract):
        name = "taken"
        test_deltas_joined_are_the_text = None

    class Inherited(Taken):
        @overrides(reason="the vendor counts elsewhere")
        def test_usage_is_counted(self) -> None: ...

    for rule in ("test_usage_is_counted", "test_deltas_joined_are_the_text"):
        with pytest.raises(AssertionError, match=f"expected Taken to leave {rule} as the contract has it"):
            getattr(Taken(), rule)()
    Inherited().test_usage_is_counted()
    with pytest.raises(AssertionError, match="expected Taken to leave"):
        getattr(Inherited(), "test_deltas_joined_are_the_text")()  # noqa: B009  # it is None for a type checker


def test_a_class_may_have_tests_and_helpers_of_its_own() -> None:
    class Extended(ProviderContract):
        name = "extended"

        def fault(self, kind: str) -> None: ...

        def test_of_its_own(self) -> str:
            return "ran"

    assert Extended().test_of_its_own() == "ran"


def test_without_pytest_the_package_imports_and_the_contract_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        "import importlib.util; importlib.util.find_spec = lambda name, package=None: None\n"
        "from understudy.testing import FAULTS, FaultServer, Reply, ScriptedProvider, no_waiting, overrides\n"
        "try:\n"
        "    from understudy.testing import ProviderContract\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == (
        'understudy.testing.ProviderContract needs pytest, and found none: pip install "understudy[testing]"\n'
    )


def test_a_programs_tests_load_nothing_of_the_contract() -> None:
    program = "import sys; from understudy.testing import no_waiting; print('pytest' in sys.modules, end='')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "False"


def test_a_fault_that_nobody_arranges_says_how_to() -> None:
    with pytest.raises(NotImplementedError, match="override fault"):
        ContractSetup().fault("reset")
