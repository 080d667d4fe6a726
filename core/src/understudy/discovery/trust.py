"""Which plugins may load: those in LLM_TRUSTED_PLUGINS and in `understudy.lock`, if these exist.

Everything is looked at before the first line of the plugin runs. Only the plugin's own distribution is looked at: what
it needs besides is held by the lock of the installer (uv.lock, or pip's --require-hashes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.discovery.distributions import Contents, InstalledPlugin, normalize, read_contents
from understudy.discovery.lock import LockedPlugin, PluginLock, find_changes
from understudy.discovery.packages import source_of
from understudy.errors import ConfigurationError, UntrustedPlugin

if TYPE_CHECKING:
    from understudy.settings import Settings

_ENTRY = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\s*==\s*([A-Za-z0-9.!+_-]+))?", re.ASCII)


def admit(plugin: InstalledPlugin, settings: Settings) -> InstalledPlugin:
    """Make sure that a plugin may load.

    Args:
        plugin: what is to be loaded; nothing of it is imported yet.
        settings: where LLM_TRUSTED_PLUGINS stands, and the lock was found.

    Returns:
        The plugin. Where several distributions claim its name and one of them alone is trusted, that one's.

    Raises:
        UntrustedPlugin: it may not, or is not what it was when somebody looked, or the list or lock is malformed.
    """
    try:
        listed = _read_list(settings)
        lock = PluginLock.read(settings.lock_file) if settings.lock_file else None
    except ConfigurationError as error:
        raise UntrustedPlugin(f"{plugin} is not loaded: {error}") from error
    claims = [claim for claim in (plugin, *plugin.rivals) if _is_named(claim, listed, lock)]
    if plugin.rivals:
        if len(claims) != 1:
            return plugin  # loading it says that the name is ambiguous
        plugin = replace(claims[0], rivals=())
    origin = (settings.find("LLM_TRUSTED_PLUGINS") or ("", "", ""))[2]
    _check_list(plugin, listed, f"LLM_TRUSTED_PLUGINS in {origin}")
    contents = read_contents(plugin.distribution)
    if lock is not None:
        _check_lock(plugin, contents, lock, str(settings.lock_file))
    if contents.editable is None:
        _check_files(plugin, contents)
        _check_import(plugin, contents)
    return plugin


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


def _check_files(plugin: InstalledPlugin, contents: Contents) -> None:
    found = find_changes(contents)
    if found:
        raise UntrustedPlugin(
            f"{plugin}: expected the files in {contents.folder} as its RECORD lists them, found {found}; find out who "
            f"changed them, and install it again ({source_of(contents.distribution, contents.version)})"
        )


def _check_import(plugin: InstalledPlugin, contents: Contents) -> None:
    """Make sure that the import will find the distribution's own file, and no other of that name before it."""
    if not contents.files:
        return  # without a RECORD the files are unknown; a lock rejects such a distribution
    origin = _find_origin(plugin.entry_point.partition("[")[0].partition(":")[0].strip())
    own = {(contents.folder / name).resolve() for name in contents.files}
    if origin is not None and origin.resolve() not in own:
        raise UntrustedPlugin(
            f"{plugin}: expected to import a file of {contents.distribution} in {contents.folder}, found {origin} in "
            "its place; remove or rename that file, or correct the order of sys.path (PYTHONPATH)"
        )


def _find_origin(module: str) -> Path | None:
    """Find the first file that importing a module would run; None where there is none."""
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        try:
            spec = find_spec(name)  # of what is above it, it imports only folders without code
        except ValueError:
            return None  # it is here already, put together by hand: an import brings no other code
        if spec is None or spec.has_location:
            return Path(spec.origin) if spec is not None and spec.origin else None
    return None
