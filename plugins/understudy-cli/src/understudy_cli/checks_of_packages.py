"""What `understudy doctor` checks in the installed packages: versions, duplicates, code run at startup, and trust.

None of what is checked is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from understudy import ConfigurationError
from understudy.discovery import PluginLock
from understudy.discovery.packages import FOLDERS, source_of
from understudy_cli.checks import Finding, Surroundings

GROUPS = ("understudy.providers", "understudy.extensions")
# Python runs these at every start: lines of .pth files that begin with "import", and two modules.
RUN_AT_START = ("sitecustomize.py", "usercustomize.py")


def check_packages() -> Iterator[Finding]:
    """All checks of installed packages that need no settings."""
    copies: dict[str, list[metadata.Distribution]] = {}
    for distribution in metadata.distributions():
        try:
            copies.setdefault(canonicalize_name(distribution.metadata["Name"] or ""), []).append(distribution)
        except Exception as error:  # damaged, and therefore ignored, as the library does
            yield Finding("packages", None, f"one cannot be read: {type(error).__name__}: {error}")
    installed = {name: found[0] for name, found in copies.items()}  # of several, the first counts
    plugins = [name for name, found in installed.items() if any(one.group in GROUPS for one in found.entry_points)]
    ours = sorted({*plugins, *(name for name in installed if name == "understudy" or name.startswith("understudy-"))})
    yield from check_versions(installed, ours)
    yield from check_doubles(copies, ours)
    yield from check_start(installed, sorted(plugins))


def check_versions(installed: Mapping[str, metadata.Distribution], ours: list[str]) -> Iterator[Finding]:
    """Whether our packages, and plugins for them, find the dependencies that they declare, in tested versions."""
    fits = True
    for name in ours:
        for need in _needs(installed[name]):
            found = installed.get(canonicalize_name(need.name))
            if found is None:
                what = f"{name} needs {need}, which is not installed"
            elif not need.specifier.contains(found.version, prereleases=True):
                what = f"{name} needs {need}, and {found.version} is installed"
            else:
                continue
            fits = False
            wanted = canonicalize_name(need.name)
            cure = f"install it again: {source_of(wanted)}" if wanted in FOLDERS else f'pip install "{need}"'
            yield Finding("packages", False, what, cure)
    if fits:
        yield Finding("packages", True, ", ".join(f"{name} {installed[name].version}" for name in ours))


def _needs(distribution: metadata.Distribution) -> Iterator[Requirement]:
    """Yield what a distribution needs here, its extras left out."""
    for text in distribution.requires or ():
        try:
            need = Requirement(text)
        except InvalidRequirement:
            continue
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            need.marker = None
            yield need


def check_doubles(copies: Mapping[str, list[metadata.Distribution]], ours: list[str]) -> Iterator[Finding]:
    """Whether a package is installed twice, or two packages claim one name."""
    claims: dict[tuple[str, str], list[str]] = {}
    for name in ours:
        first, *others = copies[name]
        places = {str(one.locate_file("")): one.version for one in others if one.files != first.files}
        for place, version in places.items():
            what = f"{name} {first.version} counts, and hides version {version} in {place}"
            yield Finding("packages", None, what, f"pip uninstall {name}, until it is gone, and reinstall it")
        for point in first.entry_points:
            if point.group in GROUPS:
                claims.setdefault((point.group.removeprefix("understudy.").removesuffix("s"), point.name), []).append(
                    name
                )
    for (kind, name), claimants in claims.items():
        if len(set(claimants)) > 1:
            what = f"the {kind} {name!r} is claimed by {' and '.join(claimants)}"
            yield Finding(f"{kind} {name}", None, what, "uninstall all but one, or name one in LLM_TRUSTED_PLUGINS")


def check_start(installed: Mapping[str, metadata.Distribution], plugins: list[str]) -> Iterator[Finding]:
    """Whether a plugin, or anything that it needs, installed code that runs whenever Python starts."""
    around = set(plugins)
    todo = list(plugins)
    while todo:
        needs = {canonicalize_name(need.name) for need in _needs(installed[todo.pop()])} & installed.keys()
        todo += needs - around
        around |= needs
    harmless = True
    for name in sorted(around):
        for file in installed[name].files or ():
            code = _find_code(file.name, Path(str(file.locate())))
            if code is not None and len(file.parts) == 1:
                harmless = False
                what = f"{file} of {name} runs whenever Python starts, whether {name} is used or not: {code}"
                cure = f"read it; unless it is harmless, pip uninstall {name}, and make new keys"
                if file.name.endswith("-nspkg.pth") and code.startswith("import sys, types, os;"):
                    cure = "the usual line of an old package that shares a name such as google: nothing to do"
                yield Finding("start of Python", False if name in plugins else None, what, cure)
    owned = {str(file.locate()) for one in installed.values() for file in one.files or () if len(file.parts) == 1}
    for folder in {str(one.locate_file("")) for one in installed.values()}:
        for path in sorted(Path(folder).glob("*.pth")):
            code = _find_code(path.name, path)
            if code is not None and str(path) not in owned:
                harmless = False
                what = f"{path} runs whenever Python starts, and no package claims it: {code}"
                yield Finding(
                    "start of Python", None, what, "read it; unless you know it, remove it, and make new keys"
                )
    if harmless:
        what = "neither a plugin nor anything that it needs installed a .pth file with code"
        yield Finding("start of Python", True, what)


def _find_code(name: str, file: Path) -> str | None:
    """Return the beginning of the code in a file that Python runs when it starts; None if there is none."""
    if name in RUN_AT_START:
        return name
    if not name.endswith(".pth") or not file.is_file():
        return None
    lines = file.read_text("utf-8", errors="replace").splitlines()
    code = next((line for line in lines if line.startswith(("import ", "import\t"))), None)
    return code if code is None or len(code) <= 80 else code[:77] + "..."


def check_trust(around: Surroundings) -> Iterator[Finding]:
    """Which plugins may load, and whether those that are locked are unchanged."""
    listed, file = around.settings.find("LLM_TRUSTED_PLUGINS"), around.settings.lock_file
    if listed is None and file is None:
        what = "neither LLM_TRUSTED_PLUGINS nor understudy.lock restricts it: any installed plugin loads when selected"
        yield Finding("trust", True, what)
    if listed is not None:
        yield Finding("trust", True, f"LLM_TRUSTED_PLUGINS in {listed[2]} lets nothing load but {listed[0]}")
    if file is None:
        return
    try:
        lock = PluginLock.read(file, trusted=around.settings.trusts(file))
    except ConfigurationError as error:
        yield Finding("lock", False, str(error))
        return
    yield Finding("lock", True, f"{file} is in force: nothing loads but {', '.join(lock.plugins) or 'nothing'}")
    for name, difference in lock.compare_installed().items():
        if difference:
            cure = "find out why; if all is well, run understudy lock"
            yield Finding("lock", False, f"{name} is not what was locked: {difference}", cure)
        elif lock.plugins[name].editable:
            yield Finding("lock", None, f"{name} is an editable install: what is in its files is not checked")
