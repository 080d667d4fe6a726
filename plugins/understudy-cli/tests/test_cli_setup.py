"""`understudy providers`, `status` and `doctor`: what is set up, what is wrong with it, and never a key."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import understudy as understudy_itself
from understudy import LLMFactory, Settings
from understudy_cli.app import BUILT_IN
from understudy_cli.availability import PRIMARY
from understudy_cli.checks import OURS, notice_of

SECRET = "parrot-secret-0123456789"  # the fixture sees to it that no output ever shows it
KEY = {"PARROT_API_KEY": SECRET}


@pytest.fixture
def understudy(here: Any) -> Any:
    """The command in this process: only what it finds is looked at here."""
    return here


def results(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str, str]]:
    """Return doctor's findings by what they are about; of several, the worst counts."""
    order = ("ok", "warning", "problem")
    checks = sorted(json.loads(done.stdout)["checks"], key=lambda one: order.index(one["result"]))
    return {one["about"]: (one["result"], one["what"], one["cure"]) for one in checks}


def test_providers_lists_what_is_here_what_it_lacks_and_what_else_there_is(understudy: Any) -> None:
    table, listing = understudy.together(("providers", "--all"), ("providers", "--all", "--json"), **KEY)
    rows = {one["name"]: one for one in json.loads(listing.stdout)["providers"]}
    assert rows["parrot"] == {
        "name": "parrot",
        "state": "available",
        "origin": "understudy-parrot 1.2",
        "model": "parrot-2",
        "reason": None,
    }
    assert rows["macaw"]["state"] == "not available"
    assert "MACAW_API_KEY is not set" in rows["macaw"]["reason"]
    assert rows["raven"]["state"] == "broken"
    assert "libraven.so is missing" in rows["raven"]["reason"]
    assert [line.split()[0] for line in table.stdout.splitlines()] == ["name", *rows]
    assert (table.returncode, listing.returncode) == (0, 0)


def test_status_shows_the_route_and_who_is_asked_first(understudy: Any) -> None:
    understudy.write_env(LLM_PRIMARY_PROVIDER="macaw", LLM_FALLBACK_PROVIDERS="parrot:parrot-9", **KEY)
    shown, listing = understudy.together(("status",), ("status", "--json"))
    assert "macaw" in shown.stdout
    assert "MACAW_API_KEY is not set" in shown.stdout
    assert "the next call asks parrot:parrot-9 first" in shown.stderr
    assert shown.returncode == 0
    status = json.loads(listing.stdout)
    assert status["current"] == "parrot:parrot-9"
    assert status["primary"]["available"] is False
    (fallback,) = status["fallbacks"]
    health = fallback.pop("health")
    assert fallback == {"name": "parrot:parrot-9", "available": True, "reason": None, "model": "parrot-9"}
    assert (health["state"], health["free_in"], health["failures"], health["latency"]) == ("closed", 0.0, 0, None)
    alone = understudy("status", PARROT_API_KEY="")
    assert alone.returncode == 1
    assert "nobody on the route can be asked" in alone.stderr


def test_doctor_finds_a_good_setup_good(understudy: Any, process: Any) -> None:
    understudy.write_env(LLM_PRIMARY_PROVIDER="parrot", LLM_FALLBACK_PROVIDERS="macaw", MACAW_API_KEY=SECRET, **KEY)
    (understudy.home / ".gitignore").write_text(".env\n")
    git(understudy, "init", "-q")
    done, table = process.together(("doctor", "--json"), ("doctor",), LLM_EXTENSIONS="greeter")
    found = results(done)
    assert done.returncode == 0, done.stdout
    assert found["primary"][:2] == ("ok", "parrot can be asked (understudy-parrot 1.2)")
    assert found["fallback 1"][0] == "ok"
    assert found[".env"][0] == "ok"
    assert found["extension greeter"][0] == "ok"
    assert found["policy"][:2] == ("ok", "patient: LLM_POLICY is not set; `understudy explain` says what it does")
    assert found["provider raven"][:2] == (  # broken, but nobody has asked for it, so nobody knows
        "ok",
        "is installed (understudy-raven 0.3), and not on the route: none of its code has run",
    )
    assert found["packages"][1].startswith("understudy ")
    assert "✓  primary" in table.stdout
    assert found["key"][0] == "ok"
    # Of what else is installed beside these packages, something may deserve a warning.
    warned = {about for about, (result, _, _) in found.items() if result == "warning"}
    assert warned <= {"start of Python"}
    assert table.stdout.endswith("\n\n1 warning\n" if warned else "\n\nEverything is fine.\n")


def test_doctor_names_every_fault_of_a_bad_setup_with_its_cure(understudy: Any, aviary: Path) -> None:
    file = understudy.write_env(
        LLM_PRIMARY_PROVDER="parrot",
        LLM_PRIMARY_PROVIDER="parrot:parrot-1",
        LLM_FALLBACK_PROVIDERS="parot,macaw,raven",
        LLM_OTHER="1",
        LLM_POLICY="pateint",
        ANTROPIC_API_KEY=SECRET,
        MACAW_API_KEY='"two words"',
        GOOGLE_API_KEY=SECRET,
        **KEY,
    )
    file.chmod(0o644)
    git(understudy, "init", "-q")
    git(understudy, "add", ".env")
    twin = understudy.home / "twin"
    twin.mkdir()
    add(twin, "understudy-parrot-two", "1.0", "parrot = cli_parrot", needs="understudy>=99")
    path = f"{aviary}:{twin}"
    done = understudy("doctor", "--json", PYTHONPATH=path, LLM_EXTENSIONS="nobody", GOOGLE_API_KEY="another-key-00")
    assert done.returncode == 1
    found = results(done)
    assert found["LLM_PRIMARY_PROVDER"][2] == "did you mean LLM_PRIMARY_PROVIDER?"
    assert found["LLM_OTHER"][0] == "warning"
    assert found["policy"][0] == "problem"
    assert f"LLM_POLICY in {file}: expected a policy among patient, eager, found 'pateint'" in found["policy"][1]
    assert found["ANTROPIC_API_KEY"][2] == "did you mean ANTHROPIC_API_KEY, which is not set?"
    assert "found a space inside it" in found["fallback 2"][1]
    assert "did you mean 'parrot'?" in found["fallback 1"][1]
    assert "pip uninstall understudy-parrot" in found["primary"][1]
    assert "libraven.so is missing" in found["fallback 3"][1]
    assert found["extension nobody"][0] == "problem"
    assert "understudy-parrot-two needs understudy>=99" in found["packages"][1]
    whole = json.loads(done.stdout)["checks"]
    about_file = [one["what"] for one in whole if one["about"] == ".env" and one["result"] == "problem"]
    assert ["others may read it" in about_file[0], "git tracks it" in about_file[1]] == [True, True]
    assert any("GOOGLE_API_KEY is set in the environment, and to another value in" in one["what"] for one in whole)


def test_doctor_names_each_line_of_the_env_file_that_cannot_be_parsed_and_shows_none(understudy: Any) -> None:
    file = understudy.write_env(**KEY)
    file.write_text(f'{file.read_text()}MACAW_API_KEY="{SECRET}\n\nPARROT_MOOD {SECRET}\n')
    done, ask = understudy.together(("doctor", "--json"), ("ask", "hello", "-p", "parrot"))
    faults = [one for one in json.loads(done.stdout)["checks"] if "cannot be parsed" in one["what"]]
    assert [(one["about"], one["result"], one["what"]) for one in faults] == [
        (".env", "problem", f"{file}, line {line}: it cannot be parsed, and is skipped") for line in (2, 4)
    ]
    assert {one["cure"] for one in faults} == {"write NAME=value there; quotes around the value must be closed"}
    assert done.returncode == 1
    assert ask.stdout == "parrot heard: hello\n"


def test_a_line_that_cannot_be_parsed_is_told_once_by_a_command_that_asks(process: Any) -> None:
    file = process.write_env(**KEY)
    file.write_text(f"{file.read_text()}MACAW_API_KEY {SECRET}\n")
    done = process("ask", "hello", "-p", "parrot")
    told = f"warning: {file}, line 2: expected NAME=value, found something else, which is skipped\n"
    assert (done.stdout, done.stderr) == ("parrot heard: hello\n", told)


def test_doctor_knows_of_retired_models_from_the_provider(understudy: Any) -> None:
    done = understudy("doctor", "--json", LLM_PRIMARY_PROVIDER="parrot", PARROT_MODEL="parrot-1", **KEY)
    assert results(done)["model of parrot"][:2] == (
        "problem",
        "parrot-1 retires on 2020-01-01, or has retired: ask parrot-2 instead",
    )


@pytest.mark.parametrize(
    ("name", "retired", "current"),
    [("claude", "claude-3-sonnet-20240229", "claude-sonnet-5-5"), ("gemini", "gemini-pro", "gemini-3.8-flash")],
)
def test_the_vendors_plugins_know_which_models_have_ended(name: str, retired: str, current: str) -> None:
    provider = LLMFactory.PROVIDER_REGISTRY.build(name, Settings({}, environment={}))
    assert notice_of(provider, retired).startswith(f"{retired} retires on 202")
    assert notice_of(provider, current) == ""


def test_a_file_that_is_not_text_is_one_problem_among_the_others(understudy: Any) -> None:
    (understudy.home / ".env").write_bytes(b"PARROT_API_KEY=\xff\xfe")
    done, ask = understudy.together(("doctor", "--json"), ("ask", "hello", "-p", "parrot"))
    assert "expected text in UTF-8" in results(done)[".env"][1]
    assert (ask.returncode, "expected text in UTF-8" in ask.stderr) == (2, True)


def test_doctor_knows_the_primary_and_the_variables_of_the_core() -> None:
    source = "".join(module.read_text("utf-8") for module in Path(understudy_itself.__file__).parent.rglob("*.py"))
    assert set(re.findall(r'"(LLM_[A-Z_]+)"', source)) == set(OURS)
    with LLMFactory(settings=Settings({"LLM_PRIMARY_PROVIDER": ""}, environment={})) as factory:
        assert factory.route[0][0].label == PRIMARY


def test_help_and_version_need_no_sdk_and_extensions_add_commands(understudy: Any) -> None:
    loaded = "import sys, understudy_cli.app; print(sorted(sys.modules))"
    modules = subprocess.run(
        [understudy.python, "-c", loaded], env=understudy.environment, capture_output=True, text=True, check=True
    ).stdout
    costly = ("anthropic", "google.genai", "understudy_sandbox", "rich")
    assert [name for name in costly if f"'{name}'" in modules] == []
    (script,) = [one for one in entry_points(group="console_scripts") if one.name == "understudy"]
    assert script.value == "understudy_cli.app:main"
    shown, version, greeting = understudy.together(("--help",), ("--version",), ("greet",), LLM_EXTENSIONS="greeter")
    for command in (
        "ask",
        "explain",
        "providers",
        "status",
        "doctor",
        "sandbox",
        "demo",
        "greet",
        "Exit codes: 0 it worked",
    ):
        assert command in shown.stdout
    assert version.stdout.startswith("understudy-cli 0.1.0, understudy ")
    assert greeting.stdout == "hello from an extension\n"


FLAGS = ("--json", "--help", "--version", "--verbose", "--check", "--faults", "--stream", "--install-completion")


def test_a_flag_is_shown_without_a_type(understudy: Any) -> None:
    calls = [(*words, "--help") for words in ((), *((name,) for name in (*BUILT_IN, "greet")))]
    shown = "".join(done.stdout for done in understudy.together(*calls, LLM_EXTENSIONS="greeter", COLUMNS="120"))
    assert [flag for flag in FLAGS if flag not in shown] == []
    assert "bool" not in shown.lower()
    assert "<int>" in shown  # what takes a value says which
    assert "FILE" in shown


def git(understudy: Any, *command: str) -> None:
    subprocess.run(["git", *command], cwd=understudy.home, env=understudy.environment, check=True, capture_output=True)


def add(home: Path, name: str, version: str, entry_point: str, needs: str) -> None:
    info = home / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: {needs}\n")
    (info / "entry_points.txt").write_text(f"[understudy.providers]\n{entry_point}\n")
