"""What installed distributions offer under which name, read from their metadata without importing them.

The only module that touches importlib.metadata.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import ClassVar, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from understudy.files.working_folder import find_working_folders
from understudy.hookspecs import EXTENSION_GROUP, PROVIDER_GROUP


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """What an installed distribution offers under a name; none of its code is imported yet.

    Args:
        name: the entry point's name.
        entry_point: the module or object that it names, for example "understudy_claude".
        distribution: the distribution's name.
        version: the distribution's version.
        rivals: other distributions that claim the same name; while there are any, it cannot be loaded.
    """

    name: str
    entry_point: str
    distribution: str
    version: str
    rivals: tuple[InstalledPlugin, ...] = field(default=(), repr=False)

    kind: ClassVar[str] = "extension"

    @property
    def origin(self) -> str:
        """The distribution and its version, for people."""
        return f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} ({self.entry_point}, from {self.origin})"


Plugin = TypeVar("Plugin", bound=InstalledPlugin)


class InstalledProvider(InstalledPlugin):
    """A provider that an installed distribution offers."""

    __slots__ = ()
    kind = "provider"


@dataclass(frozen=True, slots=True)
class Installation:
    """What the distributions on one sys.path offer.

    Args:
        path: the sys.path that was looked through.
        providers: the providers by name.
        extensions: the extensions by name.
        unreadable: distributions whose metadata is damaged.
    """

    path: tuple[str, ...]
    providers: Mapping[str, InstalledProvider]
    extensions: Mapping[str, InstalledPlugin]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of an installed distribution, as its RECORD lists them.

    Args:
        distribution: its name in the normal form of PEP 503.
        version: its version.
        folder: what the files' names are relative to.
        files: the hash of each file that came with it, as "sha256=...", by the file's name; what its installer has
            written or compiled is not included.
        editable: the folder of its source, where that and not a copy of it is imported.
        copies: where its metadata is, if there are several copies.
    """

    distribution: str
    version: str
    folder: Path
    files: Mapping[str, str]
    editable: Path | None = None
    copies: tuple[str, ...] = ()


# Written by installers, differently by each.
_INSTALLERS_OWN = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_build.json", "uv_cache.json")


def read_contents(distribution: str) -> Contents:
    """Read what an installed distribution holds, without importing anything.

    Raises:
        LookupError: there is no distribution of that name.
    """
    copies = _find_copies(distribution)
    if not copies:
        raise LookupError(distribution)
    found = next(iter(copies.values()))
    files: dict[str, str] = {}
    for row in csv.reader((found.read_text("RECORD") or "").splitlines()):
        if not row:
            continue
        name, digest = row[0].replace("\\", "/"), row[1] if len(row) > 1 else ""
        parts = name.split("/")
        own = parts[0].endswith(".dist-info") and parts[-1] in _INSTALLERS_OWN
        if digest.startswith(_HASHES) and ".." not in parts and not own:  # scripts outside have this machine's path
            files[name] = digest
    return Contents(
        normalize(found.name),
        found.version or "of an unknown version",
        Path(str(found.locate_file(""))),
        files,
        _read_editable(found),
        tuple(copies) if len(copies) > 1 else (),
    )


_HASHES = ("sha256=", "sha384=", "sha512=")  # PEP 376 and the specification of RECORD allow nothing weaker


def _find_copies(name: str) -> dict[str, metadata.Distribution]:
    """Find the distributions of a name, by where their metadata is; metadata in an editable one's source is its own."""
    found: dict[str, metadata.Distribution] = {}
    for one in metadata.distributions(name=name):
        found.setdefault(_place(one), one)
    sources = [source for one in found.values() if (source := _read_editable(one)) is not None]
    own = [place for place in found if place.endswith(".egg-info") and any(map(Path(place).is_relative_to, sources))]
    return {place: one for place, one in found.items() if place not in own}


def _place(distribution: metadata.Distribution) -> str:
    return os.path.realpath(str(getattr(distribution, "_path", distribution.locate_file(""))))


def _read_editable(distribution: metadata.Distribution) -> Path | None:
    """Return the folder of the source, if the installer recorded that it is imported from there."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(os.path.realpath(url2pathname(urlsplit(origin["url"]).path)))


# Folders that distributions install beside their packages by mistake, and that programs have too.
_ANYBODYS = frozenset(["benchmarks", "docs", "examples", "scripts", "test", "tests"])


@cache
def list_imports(distribution: str, path: tuple[str, ...]) -> tuple[frozenset[str], frozenset[Path]]:
    """Name the top-level modules of a distribution, of the core, and of all that both need, if it is installed.

    Args:
        distribution: its name.
        path: sys.path, by which the answer is remembered.

    Returns:
        The names, and the folders of those that are installed from their source.
    """
    todo, seen, names, sources = [distribution, "understudy"], set[str](), set[str](), set[Path]()
    while todo:
        name = normalize(todo.pop())
        if name in seen:
            continue
        seen.add(name)
        for one in metadata.distributions(name=name):
            names.add(name.replace("-", "_"))  # an editable one does not list its modules
            with contextlib.suppress(Exception):  # a damaged one must not hide the others
                todo += [need[0] for need in map(_NEED.match, one.requires or ()) if need]
                names.update((one.read_text("top_level.txt") or "").split())
                names.update(_NAME.findall(one.read_text("RECORD") or ""))
                source = _read_editable(one)
                if source is not None and os.path.dirname(_place(one)) not in find_working_folders():
                    sources.add(source)
    return frozenset(names - _ANYBODYS), frozenset(sources)


_NEED = re.compile(r"[A-Za-z0-9._-]+")
_NAME = re.compile(
    r"^([A-Za-z_]\w*)(?:/|\.py,|\.[\w.-]+\.(?:so|pyd),)", re.MULTILINE
)  # of a package or module in a RECORD


def normalize(distribution: str) -> str:
    """Return a distribution's name in the normal form of PEP 503, since one name is written in several ways."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


_seen: Installation | None = None
_lock = threading.RLock()


def look_around(*, again: bool = False) -> Installation:
    """Look through the installed distributions, once for each sys.path; `again` sees what was installed since."""
    global _seen
    with _lock:
        path = tuple(sys.path)
        if again:
            importlib.invalidate_caches()
        if again or _seen is None or _seen.path != path:
            _seen = _scan(path)
        return _seen


def _scan(path: tuple[str, ...]) -> Installation:
    names: dict[str, str] = {}
    unreadable = []
    for distribution in metadata.distributions():
        try:
            if "understudy." in (distribution.read_text("entry_points.txt") or ""):
                names.setdefault(normalize(distribution.name), distribution.name)
        except Exception:  # a damaged distribution must not hide the others
            unreadable.append(str(getattr(distribution, "_path", "one without a path")))
    providers: dict[str, InstalledProvider] = {}
    extensions: dict[str, InstalledPlugin] = {}
    for name in sorted(names):
        try:
            # Of several copies on the path the first counts, as it does for an import.
            distribution = metadata.distribution(names[name])
            version = distribution.version or "of an unknown version"
            for point in dict.fromkeys(distribution.entry_points):
                claim = (point.name, point.value, names[name], version)
                if point.group == PROVIDER_GROUP:
                    _add(InstalledProvider(*claim), providers)
                elif point.group == EXTENSION_GROUP:
                    _add(InstalledPlugin(*claim), extensions)
        except Exception:
            unreadable.append(names[name])
    return Installation(path, providers, extensions, tuple(unreadable))


def _add(plugin: Plugin, found: dict[str, Plugin]) -> None:
    first = found.get(plugin.name)
    found[plugin.name] = replace(first, rivals=(*first.rivals, plugin)) if first else plugin
