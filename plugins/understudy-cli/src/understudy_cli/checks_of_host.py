"""What `understudy doctor` checks on the host: Python, and who can read `.env`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from understudy_cli.checks import Finding, Surroundings, files_alone

PATIENCE = 5.0  # seconds for a git that hangs, for example on a network drive


def check_python() -> Iterator[Finding]:
    """The running Python."""
    yield Finding("Python", True, f"{sys.version.split()[0]} at {sys.executable}")


def check_secrecy(around: Surroundings) -> Iterator[Finding]:
    """Whether a `.env` with keys in it is readable by its owner alone, and kept out of git."""
    file = around.settings.env_file
    if file is None:
        return
    alone = files_alone(around.settings)
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
        yield Finding(".env", False, f"{file} holds keys, and git does not ignore it: `git add .` would add it", cure)
    if safe:
        yield Finding(".env", True, "only you can read it, and git ignores it")


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
