"""`understudy.lock`: which plugins may load, and what was in them when they were locked.

    version = 1

    [plugins.understudy-claude]
    version = "0.1.0"
    record = "sha256=..."

    [plugins.understudy-claude.files]
    "understudy_claude/__init__.py" = "sha256=..."

`record` is the hash of all names and hashes below `files`; these show which file has changed. What an
installer adds is left out, so that a lock made on one machine is valid on another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any

from understudy.discovery.distributions import Contents, look_around, normalize, read_contents
from understudy.errors import ConfigurationError
from understudy.files.reading import ForeignFile, read_toml

FORMAT = 1
HEAD = f"""\
# Which plugins of Understudy may load, and what is in them. `understudy lock` writes this file, and
# `understudy lock --check` compares it with what is installed. Commit it.
version = {FORMAT}
"""


@dataclass(frozen=True, slots=True)
class LockedPlugin:
    """What a lock records about one distribution.

    Args:
        version: its version.
        files: the hash of each of its files, by the file's name.
        editable: whether its source is imported in place, so that its files cannot be locked.
    """

    version: str
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    editable: bool = False

    @property
    def record(self) -> str:
        """One hash over the names and hashes of all files."""
        lines = "".join(f"{name},{digest}\n" for name, digest in sorted(self.files.items()))
        return hash_as_record(lines.encode(), "sha256")

    @classmethod
    def of(cls, contents: Contents) -> LockedPlugin:
        """Record what is installed."""
        editable = contents.editable is not None
        return cls(contents.version, {} if editable else contents.files, editable)

    def compare(self, found: LockedPlugin) -> str:
        """Say how another differs from this one; an empty string if it does not."""
        if found.version != self.version:
            return f"version {found.version} instead of {self.version}"
        if found.editable != self.editable:
            kinds = {True: "an editable install, whose files can change at any time", False: "a copy of its files"}
            return f"{kinds[found.editable]}, instead of {kinds[self.editable]}"
        faults = {
            "changed": [name for name in self.files if name in found.files and found.files[name] != self.files[name]],
            "new": [name for name in found.files if name not in self.files],
            "missing": [name for name in self.files if name not in found.files],
        }
        return _enumerate_faults(faults)


@dataclass(frozen=True, slots=True)
class PluginLock:
    """Which plugins may load, and what was in them when they were locked.

    Args:
        plugins: what is locked of each distribution, by its name in the normal form of PEP 503.
    """

    plugins: Mapping[str, LockedPlugin]

    @classmethod
    def of_installed(cls, distributions: Iterable[str] | None = None) -> PluginLock:
        """Record what is installed, without importing any of it.

        Args:
            distributions: their names; every distribution with a provider or an extension where None.

        Raises:
            ConfigurationError: one is not installed, or its RECORD has no hashes.
        """
        names = list_distributions() if distributions is None else tuple(map(normalize, distributions))
        return cls({name: _lock(name) for name in sorted(set(names))})

    @classmethod
    def read(cls, file: Path, *, trusted: bool = False) -> PluginLock:
        """Read a lock.

        Args:
            file: the lock.
            trusted: whether it is read no matter who owns it.

        Raises:
            ConfigurationError: it cannot be read, somebody else can write it, or it was changed by hand.
        """
        try:
            document = read_toml(file, trusted=trusted)
        except ForeignFile:
            raise
        except ConfigurationError as error:
            raise ConfigurationError(f"{error}; {_AGAIN}") from error
        if document.get("version") != FORMAT:
            raise ConfigurationError(
                f"{file}: expected version = {FORMAT}, found {document.get('version')!r}; {_AGAIN}, or upgrade the "
                "package understudy"
            )
        plugins = document.get("plugins", {})
        if not isinstance(plugins, dict):
            raise ConfigurationError(f"{file}: expected tables [plugins.NAME], found something else; {_AGAIN}")
        return cls({name: _read_plugin(values, f"[plugins.{name}] in {file}") for name, values in plugins.items()})

    def compare_installed(self) -> dict[str, str]:
        """Say for each plugin how the installed one differs from the locked one; an empty string if it does not.

        Plugins that are not installed are left out.
        """
        differences = {}
        for name, held in self.plugins.items():
            try:
                contents = read_contents(name)
            except LookupError:
                continue
            differences[name] = held.compare(LockedPlugin.of(contents)) or find_changes(contents)
        return differences

    def __str__(self) -> str:
        """Write it as TOML, always in the same order."""
        return HEAD + "".join("".join(_write_plugin(name, held)) for name, held in sorted(self.plugins.items()))


_PACKAGE = re.compile(r"[^/]+/__init__\.py")
_AGAIN = "write it again with `understudy lock`"


def list_distributions() -> tuple[str, ...]:
    """Name the distributions that offer a provider or an extension."""
    here = look_around()
    plugins = [*here.providers.values(), *here.extensions.values()]
    return tuple(sorted({normalize(claim.distribution) for one in plugins for claim in (one, *one.rivals)}))


def hash_as_record(data: bytes, algorithm: str) -> str:
    """Return a hash in the form in which a RECORD has it: "sha256=..." in base64 without its padding."""
    digest = hashlib.new(algorithm, data, usedforsecurity=True).digest()
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def find_fault(contents: Contents) -> str:
    """Say why it is unknown what a distribution holds; an empty string if it is known."""
    if contents.copies:
        return f"expected one distribution of that name, found {' and '.join(contents.copies)}; uninstall all but one"
    if contents.editable is None and not contents.files:
        return "expected a RECORD with the hashes of its files, found none; install it from a wheel, with pip or uv"
    return ""


def find_changes(contents: Contents) -> str:
    """Say which files were changed or added since the distribution was installed; an empty string if none were."""
    if contents.editable is not None:
        return ""
    faults: dict[str, list[str]] = {"changed": [], "missing": [], "not listed": _find_unlisted(contents)}
    for name, digest in contents.files.items():
        file = contents.folder / name
        if not file.is_file():
            faults["missing"].append(name)
        elif hash_as_record(file.read_bytes(), digest.partition("=")[0]) != digest:
            faults["changed"].append(name)
    return _enumerate_faults(faults)


def _find_unlisted(contents: Contents) -> list[str]:
    """Name what could be imported from the distribution's packages and is not part of it."""
    importable = tuple(all_suffixes())
    packages = [name.removesuffix("/__init__.py") for name in contents.files if _PACKAGE.fullmatch(name)]
    return [
        name
        for package in packages
        for file in (contents.folder / package).rglob("*")
        if file.name.endswith(importable)
        and file.parent.name != "__pycache__"
        and (name := file.relative_to(contents.folder).as_posix()) not in contents.files
    ]


def _enumerate_faults(faults: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{fault}: {_enumerate_some(sorted(names))}" for fault, names in faults.items() if names)


def _enumerate_some(names: list[str], most: int = 5) -> str:
    """Join names with commas; of many, only the first ones."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _lock(distribution: str) -> LockedPlugin:
    try:
        contents = read_contents(distribution)
    except LookupError as error:
        raise ConfigurationError(
            f"expected an installed distribution, found nothing called {distribution!r}; "
            f"those with plugins are {', '.join(list_distributions()) or 'none'}"
        ) from error
    fault = find_fault(contents)
    if fault:
        raise ConfigurationError(f"{distribution} {contents.version}: {fault}")
    return LockedPlugin.of(contents)


def _read_plugin(values: Any, origin: str) -> LockedPlugin:
    if not isinstance(values, dict):
        raise ConfigurationError(f"{origin}: expected a table, found {type(values).__name__}; {_AGAIN}")
    version, files, editable = values.get("version"), values.get("files", {}), values.get("editable", False)
    if (
        not isinstance(version, str)
        or not isinstance(editable, bool)
        or not isinstance(files, dict)
        or not all(isinstance(digest, str) for digest in files.values())
    ):
        raise ConfigurationError(f"{origin}: expected version, record and files as they were written; {_AGAIN}")
    held = LockedPlugin(version, files, editable)
    if not editable and values.get("record") != held.record:
        raise ConfigurationError(f"{origin}: expected record = {held.record!r} for its files, found another; {_AGAIN}")
    return held


def _write_plugin(name: str, held: LockedPlugin) -> Iterator[str]:
    key = json.dumps(name)  # a JSON text is a TOML text
    key = name if name.replace("-", "").isalnum() and name.isascii() else key
    yield f"\n[plugins.{key}]\nversion = {json.dumps(held.version)}\n"
    if held.editable:
        yield "editable = true  # its source is imported in place: its contents are not checked\n"
        return
    yield f'record = "{held.record}"\n\n[plugins.{key}.files]\n'
    for file, digest in sorted(held.files.items()):
        yield f"{json.dumps(file)} = {json.dumps(digest)}\n"
