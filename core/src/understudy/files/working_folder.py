"""The folders that Python puts on sys.path by itself, and an import hook that finds some modules anywhere but there.

Whoever can write to the folder that a program happens to run in could put an `anthropic.py` there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _current() -> str:
    try:
        return os.path.realpath(os.getcwd())
    except OSError:  # it was removed
        return ""


_AT_START = _current()


def find_working_folders() -> set[str]:
    """Return the working folder, the one at the start (`python -m`), and the script's; none where packages go."""
    import sysconfig

    script = getattr(sys.modules.get("__main__"), "__file__", None)
    own = {_current(), _AT_START, os.path.dirname(os.path.realpath(script)) if script else ""}
    paths = sysconfig.get_paths()
    return own - {"", *(os.path.realpath(paths[name]) for name in ("purelib", "platlib", "stdlib")), *keeper.trusted}


class _Keeper(MetaPathFinder):
    """Finds certain modules everywhere but in the working folders."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.trusted: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self.names:
            return None
        inside = fullname.split(".")[:-1]  # of a namespace package, part of which may be there
        banned = {os.path.join(folder, *inside) for folder in find_working_folders()}
        entries = [one for one in (sys.path if path is None else path) if os.path.realpath(one or ".") not in banned]
        if path is not None and len(entries) == len(path):
            return None
        for finder in [one for one in sys.meta_path if one is not self and hasattr(one, "find_spec")]:
            found = finder.find_spec(fullname, entries if path is not None or finder is PathFinder else None, target)
            if found is not None:
                return found
        raise ModuleNotFoundError(f"No module named {fullname!r} outside of the working folder", name=fullname)


keeper = _Keeper()


def keep_out(names: Iterable[str], trusted: Iterable[object] | None = None) -> None:
    """From now on, find modules everywhere but in the working folders.

    Args:
        names: top-level modules and packages.
        trusted: folders that do not count as working folders; None for those given before.
    """
    keeper.names.update(names)
    if trusted is not None:
        keeper.trusted = {str(folder) for folder in trusted}
    if keeper not in sys.meta_path:
        sys.meta_path.insert(0, keeper)
