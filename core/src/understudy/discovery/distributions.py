"""What installed distributions offer under which name, read from their metadata without importing them.

The only module that touches importlib.metadata.
"""

from __future__ import annotations

import csv
import importlib
import json
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from understudy.hookspecs import EXTENSION_GROUP, PROVIDER_GROUP

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """What an installed distribution offers under a name; nothing of it is imported yet.

    Args:
        name: the entry point's name.
        entry_point: the module or object that it names, for example "understudy_claude".
        distribution: the distribution's name.
        version: the distribution's version.
        rivals: other distributions with the same name: while there are any, it cannot be loaded.
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
            written or compiled is left out.
        editable: the URL of its source, where that and not a copy of it is imported.
    """

    distribution: str
    version: str
    folder: Path
    files: Mapping[str, str]
    editable: str | None = None


# Written by installers, differently by each.
_INSTALLERS_OWN = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_build.json", "uv_cache.json")


def read_contents(distribution: str) -> Contents:
    """Read what an installed distribution holds, without importing anything.

    Raises:
        LookupError: there is no distribution of that name.
    """
    found = next(iter(metadata.distributions(name=distribution)), None)
    if found is None:
        raise LookupError(distribution)
    files: dict[str, str] = {}
    for row in csv.reader((found.read_text("RECORD") or "").splitlines()):
        name, digest = row[0].replace("\\", "/"), row[1] if len(row) > 1 else ""
        parts = name.split("/")
        own = parts[0].endswith(".dist-info") and parts[-1] in _INSTALLERS_OWN
        if digest and parts[0] != ".." and not own:  # scripts outside carry the path of this machine's Python
            files[name] = digest
    return Contents(
        normalize(found.name),
        found.version or "of unknown version",
        Path(str(found.locate_file(""))),
        files,
        _read_editable(found.read_text("direct_url.json")),
    )


def _read_editable(text: str | None) -> str | None:
    origin = json.loads(text) if text else {}
    return origin["url"] if origin.get("dir_info", {}).get("editable") else None


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
            version = distribution.version or "of unknown version"
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
