"""`understudy lock`: record which plugins may load and what is in them, or compare."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy_cli import output

if TYPE_CHECKING:
    from understudy import Settings
    from understudy.discovery import LockedPlugin, PluginLock

FILE = "understudy.lock"


def lock(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Providers, extensions or distributions; by default every distribution with a plugin."),
    ] = None,
    route: Annotated[bool, typer.Option("--route", help="Lock those on the route and in LLM_EXTENSIONS.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing: compare, and end with 1 on a change.")] = False,
    file: Annotated[
        Path | None,
        typer.Option(help="The lock; the one in force, or else a new one here.", metavar="FILE", dir_okay=False),
    ] = None,
) -> None:
    """Write which plugins may load, and what is in them, to understudy.lock; none of their code runs.

    If there is such a file, here or in a folder above, a plugin loads only if it is in the file and unchanged.
    """
    from understudy import Settings
    from understudy.discovery import PluginLock

    settings = Settings()
    file = file or settings.lock_file or Path(FILE)
    if check:
        if names or route:
            output.fail("expected --check alone: it compares everything in the lock", output.USAGE)
        if not file.is_file():
            named = "" if str(file) == FILE else f" --file {shlex.quote(str(file))}"
            output.fail(f"{file}: there is no lock to compare with; `understudy lock{named}` writes one", output.USAGE)
        _check(file, PluginLock.read(file, trusted=settings.trusts(file.resolve())), settings)
        return
    wanted = [*(names or ()), *(_read_route(settings) if route else ())]
    made = PluginLock.of_installed(_find_distributions(wanted) if names or route else None)
    before = _read_before(file)
    file.write_text(str(made), "utf-8")
    for name in sorted({*before, *made.plugins}):
        _tell(name, before.get(name), made.plugins.get(name))
    output.say(f"{file} holds {len(made.plugins)}: nothing else loads below {file.resolve().parent}", "green")
    for name, held in made.plugins.items():
        if held.editable:
            output.say(f"warning: {name} is an editable install: what is in its files is not checked", "yellow")


def _read_before(file: Path) -> Mapping[str, LockedPlugin]:
    """Read the lock that is about to be rewritten; a damaged one holds nothing."""
    from understudy import ConfigurationError
    from understudy.discovery import PluginLock

    try:
        return PluginLock.read(file).plugins if file.is_file() else {}
    except ConfigurationError as error:
        output.say(f"warning: what was locked before is not known: {error}", "yellow")
        return {}


def _tell(name: str, was: LockedPlugin | None, held: LockedPlugin | None) -> None:
    if was is None and held is not None:
        output.say(f"new: {name} {held.version}")
    elif was is not None and held is None:
        output.say(f"gone: {name} {was.version}", "yellow")
    elif was is not None and held is not None and (difference := was.compare(held)):
        output.say(f"changed: {name}: {difference}", "yellow")


def _check(file: Path, held: PluginLock, settings: Settings) -> None:
    differences = held.compare_installed()
    for name, difference in differences.items():
        if difference:
            output.complain(f"{name} is not what was locked: {difference}")
    for name in held.plugins:
        if name not in differences:
            output.say(f"{name} is locked, and not installed here", "dim")
    missing = [name for name in _find_distributions(_read_route(settings), strict=False) if name not in held.plugins]
    for name in missing:
        output.complain(f"{name} is on the route, and not in {file}: it would be refused")
    if missing or any(differences.values()):
        raise typer.Exit(output.FAILURE)
    output.say(f"everything installed is what {file} holds", "green")


def _read_route(settings: Settings) -> list[str]:
    """Return the names of the providers on the route, of those behind tables, and of the extensions."""
    from understudy_cli.availability import read_route

    names = [stop.partition(":")[0].strip() for stop in read_route(settings)]
    tables = settings.tables
    return [*(tables[name].uses if name in tables else name for name in names), *settings.names("LLM_EXTENSIONS")]


def _find_distributions(names: list[str], strict: bool = True) -> list[str]:
    """Find the distributions that stand behind the names of providers and extensions."""
    from importlib import metadata

    from packaging.utils import canonicalize_name

    homes: dict[str, list[str]] = {}
    for group in ("understudy.providers", "understudy.extensions"):
        for point in metadata.entry_points(group=group):
            if point.dist is not None:
                homes.setdefault(point.name, []).append(canonicalize_name(point.dist.name))
    known = {home for found in homes.values() for home in found}
    distributions: list[str] = []
    for name in names:
        found = homes.get(name) or [home for home in known if home == canonicalize_name(name)]
        if strict and len(set(found)) != 1:
            said = f"found it in {' and '.join(sorted(set(found)))}" if found else "there is no such name"
            expected = "expected the name of an installed provider, extension or distribution"
            output.fail(f"{expected}, found {name!r}: {said}", output.USAGE)
        distributions += found
    return list(dict.fromkeys(distributions))
