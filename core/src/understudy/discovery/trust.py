"""Which plugins may load: those in LLM_TRUSTED_PLUGINS and in `understudy.lock`, if these exist.

Everything is checked before the first line of the plugin runs. Only the plugin's own distribution is checked: its
dependencies are pinned by the installer's lock (uv.lock, or pip's --require-hashes), and are not taken from the folder
that the program runs in.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.discovery.distributions import Contents, InstalledPlugin, list_imports, normalize, read_contents
from understudy.discovery.hashed import held, hold
from understudy.discovery.lock import LockedPlugin, PluginLock, find_changes, find_fault
from understudy.discovery.packages import source_of
from understudy.errors import ConfigurationError, UntrustedPlugin
from understudy.files.working_folder import find_working_folders, keep_out, keeper

if TYPE_CHECKING:
    from understudy.settings import Settings

_ENTRY = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\s*==\s*([A-Za-z0-9.!+_-]+))?", re.ASCII)


def admit(plugin: InstalledPlugin, settings: Settings) -> InstalledPlugin:
    """Make sure that a plugin may load.

    Args:
        plugin: what is to be loaded; none of it is imported yet.
        settings: where LLM_TRUSTED_PLUGINS stands, and the lock was found.

    Returns:
        The plugin. If several distributions claim its name and only one of them is trusted, that one's.

    Raises:
        UntrustedPlugin: it may not, it has changed since it was locked, or the list or lock is malformed.
    """
    try:
        listed = _read_list(settings)
        file = settings.lock_file
        lock = PluginLock.read(file, trusted=settings.trusts(file)) if file else None
    except ConfigurationError as error:
        raise UntrustedPlugin(f"{plugin} is not loaded: {error}") from error
    claims = [claim for claim in (plugin, *plugin.rivals) if _is_named(claim, listed, lock)]
    if plugin.rivals:
        if len(claims) != 1:
            return plugin  # loading it says that the name is ambiguous
        plugin = replace(claims[0], rivals=())
    origin = (settings.find("LLM_TRUSTED_PLUGINS") or ("", "", ""))[2]
    contents = _read_contents(plugin)
    plugin = replace(plugin, version=contents.version)
    _check_list(plugin, listed, f"LLM_TRUSTED_PLUGINS in {origin}")
    names, sources = list_imports(contents.distribution, tuple(sys.path))
    trusted = {str(folder) for folder in settings.trusted_folders}
    trusted |= {one for one in find_working_folders() if any(map(Path(one).is_relative_to, sources))}
    keep_out(names | sys.stdlib_module_names - {"test"}, trusted)
    _check_place(plugin, contents)
    if lock is not None:
        _check_lock(plugin, contents, lock, str(settings.lock_file))
    _check_files(plugin, contents)
    _check_import(plugin, contents)
    _check_loaded(plugin, names)
    return plugin


def _read_contents(plugin: InstalledPlugin) -> Contents:
    try:
        return read_contents(plugin.distribution)
    except Exception as error:  # its files may say anything
        found = f"{type(error).__name__}: {error}"
        raise UntrustedPlugin(
            f"{plugin}: expected the metadata of an installed distribution, found {found[:200]}; install it again "
            f"({source_of(normalize(plugin.distribution))})"
        ) from error


def _read_list(settings: Settings) -> Mapping[str, str | None] | None:
    """Read LLM_TRUSTED_PLUGINS: the version that is trusted, or None for any, by the distribution's name."""
    found = settings.find("LLM_TRUSTED_PLUGINS")
    if found is None:
        return None
    entries = {}
    for text in settings.names("LLM_TRUSTED_PLUGINS"):
        entry = _ENTRY.fullmatch(text)
        if entry is None:
            raise ConfigurationError(
                f"LLM_TRUSTED_PLUGINS in {found[2]}: expected names of distributions, as in understudy-claude or "
                f"understudy-claude==0.1.0, with commas between, found {text!r}"
            )
        entries[normalize(entry[1])] = entry[2]
    return entries


def _is_named(claim: InstalledPlugin, listed: Mapping[str, str | None] | None, lock: PluginLock | None) -> bool:
    name = normalize(claim.distribution)
    return (listed is None or name in listed) and (lock is None or name in lock.plugins)


def _check_list(plugin: InstalledPlugin, listed: Mapping[str, str | None] | None, origin: str) -> None:
    if listed is None:
        return
    name = normalize(plugin.distribution)
    if name not in listed:
        raise UntrustedPlugin(
            f"{plugin}: expected a distribution that {origin} names ({', '.join(listed) or 'it names none'}), found "
            f"{name}; add it there if you trust it, or ask another provider"
        )
    version = listed[name]
    if version is not None and version != plugin.version:
        raise UntrustedPlugin(
            f"{plugin}: expected {name}=={version}, as {origin} says, found version {plugin.version}; install that "
            f"version again ({source_of(name, version)}), or change the list if you trust the other"
        )


def _check_lock(plugin: InstalledPlugin, contents: Contents, lock: PluginLock, file: str) -> None:
    name = contents.distribution
    held = lock.plugins.get(name)
    if held is None:
        raise UntrustedPlugin(
            f"{plugin}: expected a distribution that {file} holds ({', '.join(lock.plugins) or 'it holds none'}), "
            f"found {name}; if you trust it, write the lock again: `understudy lock`"
        )
    found = held.compare(LockedPlugin.of(contents))
    if found:
        raise UntrustedPlugin(
            f"{plugin}: expected {name} {held.version} as {file} holds it, found {found}; install what was locked "
            f"({source_of(name, held.version)}), or, if you know why it has changed, write the lock again: "
            "`understudy lock`"
        )


def _check_place(plugin: InstalledPlugin, contents: Contents) -> None:
    """Make sure that an installer put it where it is, so that it is there on purpose."""
    fault = find_fault(contents)
    folder = os.path.realpath(contents.folder)
    if not fault and folder in find_working_folders():
        fault = (
            f"expected it where packages are installed, found it in {folder}, where the program runs; install it, or, "
            f"if you trust whoever writes there, set LLM_TRUSTED_FOLDERS={folder} in the environment"
        )
    if fault:
        raise UntrustedPlugin(f"{plugin}: {fault} ({source_of(contents.distribution, contents.version)})")


def _check_files(plugin: InstalledPlugin, contents: Contents) -> None:
    found = find_changes(contents)
    if found:
        raise UntrustedPlugin(
            f"{plugin}: expected the files in {contents.folder} as its RECORD lists them, found {found}; find out who "
            f"changed them, and install it again ({source_of(contents.distribution, contents.version)})"
        )


def _check_import(plugin: InstalledPlugin, contents: Contents) -> None:
    """Make sure that the import will find the distribution's own file, and no other of that name before it."""
    module = plugin.entry_point.partition("[")[0].partition(":")[0].strip()
    origin = _find_origin(module)
    if contents.editable is not None:
        if origin is not None and origin.resolve().is_relative_to(contents.editable):
            return
        expected = f"a file below {contents.editable}, where {contents.distribution} is installed from"
    else:
        own = {(contents.folder / name).resolve() for name in contents.files}
        if origin is None or origin.resolve() in own:
            files = hold(contents)
            wrong = [it for name, one in files.items() if (it := _find_file(name)) and not _is_same(it, one)]
            if module in files and not wrong:
                return
            origin = Path(wrong[0]) if wrong else origin
        expected = f"a file of {contents.distribution} in {contents.folder}"
    raise UntrustedPlugin(
        f"{plugin}: expected to import {expected}, found {origin or module} in its place; remove or rename that file, "
        "or correct the order of sys.path (PYTHONPATH)"
    )


def _check_loaded(plugin: InstalledPlugin, names: Iterable[str]) -> None:
    """Make sure that nothing that it needs was imported from the folder that the program runs in."""
    folders = find_working_folders()
    for name in names:
        file = _find_file(name)
        if file and os.path.dirname(os.path.realpath(file).removesuffix(f"{os.sep}__init__.py")) in folders:
            raise UntrustedPlugin(
                f"{plugin}: expected {name} from where packages are installed, found {file} imported already; remove "
                "or rename that file"
            )


def _find_file(module: str) -> str | None:
    """Return the file that a module was imported from, if it was."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file if isinstance(file, str) else None


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _find_origin(module: str) -> Path | None:
    """Find the first file that importing a module for the first time would run; None where there is none."""
    path: Iterable[str] | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = None
        for finder in [one for one in sys.meta_path if one not in (held, keeper) and hasattr(one, "find_spec")]:
            spec = spec or finder.find_spec(name, path if path is None else list(path))
        if spec is None or spec.has_location:
            return Path(spec.origin) if spec is not None and spec.origin else None
        path = spec.submodule_search_locations
        if path is None:  # built into Python
            return None
    return None
