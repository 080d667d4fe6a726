"""A stranger's package: made by the scaffold, built into a wheel, installed beside the core in a fresh environment.

There it passes its own tests, is chosen as the primary, and lets Claude take over when its quota is used up.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from ast import literal_eval
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ("claude", "openai", "sandbox", "toolkit")
OURS = [ROOT / "core", *(ROOT / f"plugins/understudy-{name}" for name in SHIPPED)]
EXAMPLE = ROOT / "docs/examples/understudy-parrot"  # what docs/writing-a-provider.md ends with
SHAPES = {"budgie": "plain", "grey-parrot": "http", "jay": "openai-compatible"}
STRANGERS = (*SHAPES, "parrot")
PATIENCE = 600  # seconds for one command: it only ends what hangs

# Each makes the stranger answer, and then say that its quota is used up, as whatever it is made of would say it.
SPOILERS = {
    "plain": """
import understudy_budgie
def refuse(self, *prompt):
    raise RuntimeError("429 Too Many Requests: quota exceeded")
def spoil():
    understudy_budgie.BudgieProvider.ask = refuse
""",
    "http": """
from understudy_toolkit.conformance import FaultServer, Reply
server = FaultServer(lambda request: Reply({"text": "I am grey", "stop_reason": "end"})).__enter__()
os.environ["GREY_PARROT_BASE_URL"] = server.url
def spoil():
    server.answer = lambda request: Reply({"error": {"code": "slow_down", "message": "later"}}, 429)
""",
    "openai-compatible": """
from understudy_sandbox import faults
os.environ["JAY_BASE_URL"] = sandbox.environment()["OPENAI_BASE_URL"]
def spoil():
    sandbox["openai"].always(faults.rate_limited())
""",
}
PROGRAM = """
import os, pathlib
from understudy import LLMFactory
from understudy.discovery import PluginLock
from understudy_sandbox import Sandbox

with Sandbox() as sandbox:
    os.environ |= sandbox.environment() | {{"LLM_PRIMARY_PROVIDER": {name!r}, "LLM_FALLBACK_PROVIDERS": "claude"}}
    pathlib.Path("understudy.lock").write_text(str(PluginLock.of_installed([{distribution!r}, "understudy-claude"])))
    {spoiler}
    with LLMFactory() as factory:
        answer = factory.generate_content("Hello")
        print(answer.success, answer.provider_name, [one.outcome for one in answer.attempts])
        spoil()
        answer = factory.generate_content("Hello")
        print(answer.success, answer.provider_name, [(one.provider, one.outcome) for one in answer.attempts])
        print(type(answer.attempts[0].failure).__name__)
"""


@dataclass(frozen=True)
class Place:
    """A fresh environment, and the strangers' sources beside it."""

    home: Path
    python: Path


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=variables | installer_settings() | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def succeed(*command: str | Path, cwd: Path) -> None:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"


def installer_settings() -> dict[str, str]:
    """Return what tells uv which index pip is configured with, where uv is not told by itself."""
    if not INSTALLER_SETTINGS and shutil.which("uv") and not any("INDEX" in name for name in os.environ):
        command = [sys.executable, "-m", "pip", "config", "list"]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        pip = {line.split("=")[0].split(".")[-1]: literal_eval(line.split("=", 1)[1]) for line in lines if "." in line}
        INSTALLER_SETTINGS["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as with pip, all indexes are equals
        for name, what in (
            ("UV_DEFAULT_INDEX", "index-url"),
            ("UV_INDEX", "extra-index-url"),
            ("UV_INSECURE_HOST", "trusted-host"),
            ("SSL_CERT_FILE", "cert"),
        ):
            if what in pip:
                INSTALLER_SETTINGS[name] = " ".join(pip[what].split())
    return INSTALLER_SETTINGS


INSTALLER_SETTINGS: dict[str, str] = {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Make the strangers' packages, and install their wheels, the example's and ours in a fresh environment."""
    home = tmp_path_factory.mktemp("abroad")
    for name, shape in SHAPES.items():
        succeed(sys.executable, "-m", "understudy_cli", "new-provider", name, "--shape", shape, cwd=home)
    environment, wheels = home / "environment", home / "wheels"
    python = environment / "bin" / "python"
    succeed(sys.executable, "-m", "venv", "--without-pip", environment, cwd=home)
    if shutil.which("uv"):
        install: list[str | Path] = ["uv", "pip", "install", "--quiet", "--python", python]
        build: list[str | Path] = ["uv", "build", "--wheel", "--no-build-isolation", "--python", python, "-o", wheels]
    elif run(sys.executable, "-m", "pip", "--version", cwd=home).returncode == 0:
        pip = [sys.executable, "-m", "pip", "--python", python]
        install = [*pip, "install", "--quiet"]
        build = [*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", wheels]
    else:
        pytest.skip("there is neither uv nor pip here to install a stranger's package with")
    tools = run(*install, "hatchling>=1.27", "pytest>=8.3", cwd=home)
    if tools.returncode != 0:
        pytest.skip(f"hatchling and pytest cannot be installed, so no index is reached: {tools.stderr.strip()[-200:]}")
    shutil.copytree(EXAMPLE, home / EXAMPLE.name)
    sources = [*OURS, home / EXAMPLE.name, *(home / f"understudy-{name}" for name in SHAPES)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda source: succeed(*build, source, cwd=home), sources))
    succeed(*install, *sorted(wheels.glob("*.whl")), cwd=home)
    return Place(home, python)


@pytest.fixture(scope="module")
def suites(place: Place) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run the strangers' own tests, two of them at a time."""
    command = [place.python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda name: run(*command, cwd=place.home / f"understudy-{name}"), STRANGERS)
        return dict(zip(STRANGERS, done, strict=True))


@pytest.mark.parametrize("name", STRANGERS)
def test_a_scaffold_and_the_example_pass_their_own_tests(
    name: str, suites: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    done = suites[name]
    assert done.returncode == 0, done.stdout[-4000:]
    told = next(line for line in done.stdout.splitlines() if line.startswith(f"{name}: "))
    passed, failed, _ = told.removeprefix(f"{name}: ").split(", ")
    assert failed == "0 failed"
    assert int(passed.split()[0]) > 40


def test_the_example_is_what_its_page_shows() -> None:
    page = (EXAMPLE.parents[1] / "writing-a-provider.md").read_text("utf-8")
    shown = dict(re.findall(rf"^```\w+ file={EXAMPLE.name}/(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    there = {
        file.relative_to(EXAMPLE).as_posix(): file for file in EXAMPLE.rglob("*") if file.suffix in (".py", ".toml")
    }
    assert shown == {name: file.read_text("utf-8") for name, file in there.items()}


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_it_is_chosen_by_its_name_and_claude_takes_its_part(name: str, shape: str, place: Place) -> None:
    key = {f"{name.upper().replace('-', '_')}_API_KEY": "not-a-real-key"}
    spoiler = SPOILERS[shape].replace("\n", "\n    ")
    distribution = f"understudy-{name}"
    program = PROGRAM.format(name=name, distribution=distribution, spoiler=spoiler)
    folder = place.home / f"asking-{name}"
    folder.mkdir()
    done = run(place.python, "-c", program, cwd=folder, **key)
    assert done.stdout.splitlines() == [
        f"True {name} ['succeeded']",
        f"True claude [('{name}', 'failed'), ('claude', 'succeeded')]",
        "RateLimited",
    ], done.stdout + done.stderr
