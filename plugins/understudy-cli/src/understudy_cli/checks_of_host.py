"""What `understudy doctor` looks at outside the configuration: Python, package versions, and who can read `.env`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from understudy import Settings
from understudy_cli.checks import Finding, Surroundings

PATIENCE = 5.0  # seconds for a git that hangs, on a network drive say
_NEED = re.compile(r"(understudy[\w.-]*?)\s*(?:\[[^]]*\])?\s*\(?((?:[<>=!~]=?=?[^;)]*)?)\)?\s*(?:;.*)?", re.ASCII)


def check_python() -> Iterator[Finding]:
    """The running Python."""
    yield Finding("Python", True, f"{sys.version.split()[0]} at {sys.executable}")


def check_versions() -> Iterator[Finding]:
    """Whether the installed versions of our packages, and of plugins for them, fit each other."""
    versions: dict[str, str] = {}
    needs: list[tuple[str, str]] = []
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if name == "understudy" or name.startswith("understudy-"):
            versions.setdefault(name, distribution.version)
        for need in distribution.requires or ():
            if need.startswith("understudy") and "extra ==" not in need:
                needs.append((name, need))
    fits = True
    for name, need in needs:
        found = _NEED.fullmatch(need)
        wanted = found[1].rstrip("-_.").lower() if found else ""
        if found is None or wanted not in versions or fits_all(versions[wanted], found[2]):
            continue
        fits = False
        what = f"{name} needs {need}, and {versions[wanted]} is installed"
        yield Finding("packages", False, what, f"pip install --upgrade {name} {wanted}")
    if fits:
        yield Finding("packages", True, ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))


def fits_all(version: str, bounds: str) -> bool:
    """Return whether a version is within bounds such as ">=0.1.0,<2"; a bound of another form is passed over."""
    have = _numbers(version)
    for bound in bounds.split(","):
        found = re.fullmatch(r"\s*(>=|<=|==|<|>)\s*([\d.]+)\s*", bound)
        if found is None:
            continue
        want = _numbers(found[2])
        size = max(len(have), len(want))
        left, right = have + (0,) * (size - len(have)), want + (0,) * (size - len(want))
        good = {">=": left >= right, "<=": left <= right, "==": left == right, "<": left < right, ">": left > right}
        if not good[found[1]]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def check_secrecy(around: Surroundings) -> Iterator[Finding]:
    """Whether a `.env` with keys in it is for its owner's eyes only, and kept out of git."""
    file = around.settings.env_file
    if file is None:
        return
    alone = Settings(environment={}, directory=file.parent)
    if not any(alone.find(name) for name in around.key_names):
        return
    mode = file.stat().st_mode & 0o777
    safe = True
    if os.name == "posix" and mode & 0o077:
        safe = False
        what = f"{file} holds keys, and others may read it (mode {mode:03o})"
        yield Finding(".env", False, what, f"chmod 600 {file}")
    tracked, ignored = _ask_git(file)
    if tracked:
        safe = False
        cure = f"git rm --cached {file.name}, put it into .gitignore, and make new keys: the history keeps the old ones"
        yield Finding(".env", False, f"{file} holds keys, and git tracks it", cure)
    elif ignored is False:
        safe = False
        cure = f"echo {file.name} >> {file.parent / '.gitignore'}"
        yield Finding(".env", False, f"{file} holds keys, and git does not ignore it: git add . would take it", cure)
    if safe:
        yield Finding(".env", True, "the keys in it are out of others' and git's reach")


def _ask_git(file: Path) -> tuple[bool, bool | None]:
    """Return whether git tracks a file, and whether it ignores it; None where there is no git or no repository."""
    if shutil.which("git") is None or _git(file.parent, "rev-parse", "--is-inside-work-tree") != 0:
        return False, None
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) == 0:
        return True, None
    ignored = _git(file.parent, "check-ignore", "-q", file.name)
    return False, {0: True, 1: False}.get(ignored)


def _git(directory: Path, *command: str) -> int:
    try:
        done = subprocess.run(["git", *command], cwd=directory, capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return -1
    return done.returncode
