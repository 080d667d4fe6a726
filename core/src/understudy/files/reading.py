"""Files in the folder that a program runs in: found, read within bounds, and ignored if others may write them.

Whoever owns such a file, or can write it, decides where prompts go; so it must be nobody else.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

from understudy.errors import ConfigurationError

__all__ = ["MOST_BYTES", "MOST_LEVELS", "ForeignFile", "find_file", "read_file", "read_toml"]

MOST_BYTES = 1_048_576  # of one file; the lock of a plugin with 5,000 files has 600,000
MOST_LEVELS = 64  # of nested tables and lists

_TEXT = re.compile(rb"""\"[^"\\]*\"|'[^']*'""")  # in quotes, where dots do not separate keys


class ForeignFile(ConfigurationError):
    """Somebody else owns a file or can write it, so it is not read."""


def find_file(name: str, directory: Path, *, everywhere: bool = False) -> Path | None:
    """Find the nearest file of a name in a directory or those above it, up to the root of the repository or the home.

    What is not a file is skipped: a folder of that name, or a pipe, which could wait for ever.

    Args:
        name: the file's name.
        directory: where the search begins.
        everywhere: whether to search up to the root, and stop at whatever has that name, a file or not.
    """
    try:
        start = directory.resolve()
        for folder in (start, *start.parents):
            file = folder / name
            if os.path.lexists(file) if everywhere else file.is_file():
                return file
            if not everywhere and (
                os.path.lexists(folder / ".git") or str(folder) == os.path.realpath(os.path.expanduser("~"))
            ):
                break
    except OSError:  # the directory was removed, or one above it may not be entered
        pass
    return None


def read_file(file: Path, *, trusted: bool = False) -> bytes:
    """Read a file that nobody else can write.

    Args:
        file: the file.
        trusted: whether it is read no matter who owns it.

    Raises:
        ForeignFile: somebody else can write it.
        ConfigurationError: it is not a file, cannot be read, or is too large.
    """
    try:
        with open(file, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as opened:
            status = os.fstat(opened.fileno())  # of the file that is read, even if its name was reused
            if not stat.S_ISREG(status.st_mode):
                raise ConfigurationError(f"{file}: expected a file, found something else; remove it")
            if not trusted and (who := _find_writer(file, status)):
                raise ForeignFile(
                    f"{file} is not read: expected a file that you alone can write, found one that {who}, or, if you "
                    f"trust whoever writes there, set LLM_TRUSTED_FOLDERS={file.parent} in the environment"
                )
            data = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{file}: expected a file that can be read, found: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise ConfigurationError(f"{file}: expected at most {MOST_BYTES:,} bytes, found more; make it smaller")
    return data


def _find_writer(file: Path, status: os.stat_result) -> str:
    """Say who else owns a file or can write it, and what to do; an empty string for nobody, and on Windows."""
    if os.name != "posix":
        return ""
    for owner in (status.st_uid, os.lstat(file).st_uid):  # of the file, and of a link to it
        if owner not in (0, os.geteuid()):
            return f"the user {owner} owns; chown {os.geteuid()} {file}"
    if status.st_mode & stat.S_IWOTH:
        return f"everybody can write; chmod o-w {file}"
    if status.st_mode & stat.S_IWGRP and not _is_of_one(status.st_gid, status.st_uid):
        return f"the group {status.st_gid} can write; chmod g-w {file}"
    return ""


def _is_of_one(group: int, owner: int) -> bool:
    """Return whether a group is the system's, or contains only its owner: many systems give each user one."""
    import grp
    import pwd

    try:
        name, found = pwd.getpwuid(owner).pw_name, grp.getgrgid(group)
    except KeyError:
        return group == 0
    return group == 0 or (found.gr_name == name and set(found.gr_mem) <= {name})


def read_toml(file: Path, *, trusted: bool = False) -> dict[str, Any]:
    """Read a file of TOML that nobody else can write.

    Raises:
        ForeignFile: somebody else can write it.
        ConfigurationError: it cannot be read, is not TOML, or is too large or too deeply nested.
    """
    import tomllib

    data = read_file(file, trusted=trusted)
    deep = f"{file}: expected at most {MOST_LEVELS} levels of tables and lists, found more"
    if any(_TEXT.sub(b"", line).count(b".") > MOST_LEVELS for line in data.splitlines()):
        raise ConfigurationError(deep)  # a key of 200,000 parts takes tomllib ten minutes
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except ValueError as error:  # of no TOML, no UTF-8, or a number of 5,000 digits
        raise ConfigurationError(f"{file}: expected TOML in UTF-8, found: {error}") from None
    except RecursionError:
        raise ConfigurationError(deep) from None
    level: list[Any] = [document]
    for _ in range(MOST_LEVELS):
        level = [one for part in level for one in (part.values() if isinstance(part, dict) else part)]
        level = [one for one in level if isinstance(one, dict | list)]
    if level:
        raise ConfigurationError(deep)
    return document
