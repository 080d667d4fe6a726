"""What is set up here: which providers can be asked, and what the others lack."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from understudy_cli import output

if TYPE_CHECKING:
    from understudy import LLMProvider, Settings

State = Literal[
    "available", "not available", "not loaded", "misconfigured", "broken", "ambiguous", "not trusted", "not installed"
]


PRIMARY = "gemini"  # asked first by default
NOT_LOADED = "it is not selected, so none of its code has run; `understudy providers --all` loads it"


@dataclass(frozen=True, slots=True)
class Found:
    """One provider's name, and what is known of it here.

    Args:
        name: the name that a route calls it by.
        state: whether it can be asked.
        origin: the distribution and its version, or the package to install.
        reason: why it cannot be asked; empty where it can.
        provider: the provider, where one could be made.
    """

    name: str
    state: State
    origin: str
    reason: str = ""
    provider: LLMProvider | None = None

    @property
    def model(self) -> str | None:
        """The default model."""
        model: str | None = getattr(self.provider, "default_model", None)
        return model

    @property
    def short_reason(self) -> str:
        """The reason, without the name and the origin at its beginning."""
        return self.reason.partition("): ")[2] if self.reason.startswith(f"provider {self.name!r} (") else self.reason


@contextlib.contextmanager
def settings_of_nobody(arguments: Mapping[str, str]) -> Iterator[Settings]:
    """Make settings with these values; of the user's own settings, take only which plugins are trusted."""
    from understudy import Settings

    user = Settings()
    folders = ",".join(map(str, user.trusted_folders))
    trusted = {"LLM_TRUSTED_PLUGINS": user.get("LLM_TRUSTED_PLUGINS") or "", "LLM_TRUSTED_FOLDERS": folders}
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, ".env").touch()  # the search for `.env` and the like ends here
        Path(directory, "understudy.toml").touch()
        made = Settings({**arguments, **trusted}, environment={}, directory=directory)
        made.lock_file = user.lock_file
        yield made


def read_route(settings: Settings) -> list[str]:
    """Return the stops of the route as they are configured, the primary first."""
    return [settings.get("LLM_PRIMARY_PROVIDER") or PRIMARY, *settings.names("LLM_FALLBACK_PROVIDERS")]


def split_names(entries: Sequence[str] | None) -> list[str] | None:
    """Return the names in an option that is repeated or has commas; None if it is not given."""
    return None if entries is None else [name for entry in entries for name in entry.split(",") if name.strip()]


def look(settings: Settings, selected: Collection[str] | None = None, everybody: bool = False) -> list[Found]:
    """Make providers as a route would, and return whether each can be asked.

    A third party's provider is made, which runs its code, only if the user has selected it.

    Args:
        settings: what the providers are made with.
        selected: names to be made besides our own; those on the route where None.
        everybody: whether the others are made, too.
    """
    from understudy import LLMFactory

    if selected is None:
        selected = [stop.partition(":")[0].strip() for stop in read_route(settings)]
    selected = {*selected, *(table.uses for name, table in settings.tables.items() if name in selected)}
    rows = LLMFactory.PROVIDER_REGISTRY.describe()
    made = {row.name for row in rows if everybody or row.is_ours or row.state != "installed" or row.name in selected}
    found = [
        _look_at(row.name, row.name, row.state, row.origin, settings)
        if row.name in made
        else Found(row.name, "not loaded", row.origin, NOT_LOADED)
        for row in rows
    ]
    states = {row.name: row.state for row in rows}
    for name, table in settings.tables.items():
        uses = table.uses
        if uses in states and uses not in made and name not in selected:
            found.append(Found(name, "not loaded", f"{uses}, {table.origin}", NOT_LOADED))
        else:
            found.append(_look_at(name, uses, states.get(uses, ""), f"{uses}, {table.origin}", settings))
    order = {one.name: (one.state == "not installed", one.name) for one in found}
    return sorted(found, key=lambda one: order[one.name])


def _look_at(name: str, uses: str, state: str, origin: str, settings: Settings) -> Found:
    """Make one provider and say whether it can be asked; a broken one does not affect the others."""
    from understudy import ConfigurationError, LLMFactory
    from understudy.errors import AmbiguousProvider, PluginError, UntrustedPlugin

    if state == "not installed" and name == uses:
        return Found(name, "not installed", origin)
    registry = LLMFactory.PROVIDER_REGISTRY
    if name != uses and name in registry:
        return Found(name, "ambiguous", origin, "a provider already has this name: choose another for the table")
    try:
        provider = registry.build(uses, settings.for_provider(name))
    except AmbiguousProvider as error:
        return Found(name, "ambiguous", origin, str(error))
    except UntrustedPlugin as error:
        return Found(name, "not trusted", origin, str(error))
    except PluginError as error:
        return Found(name, "broken", origin, str(error))
    except ConfigurationError as error:
        return Found(name, "misconfigured", origin, str(error))
    reason = unavailable_reason(provider)
    return Found(name, "available" if reason is None else "not available", origin, reason or "", provider)


def unavailable_reason(provider: LLMProvider) -> str | None:
    """Say why a provider cannot be asked, or None; one that fails at saying so cannot be asked either."""
    explain: Any = getattr(provider, "unavailable_reason", None)
    try:
        if explain is not None:
            reason: str | None = explain()
            return reason
        return None if provider.is_available() else "is_available() returned False"
    except Exception as error:
        return f"it failed to say whether it is available: {type(error).__name__}: {error}"


def is_ready(provider: LLMProvider) -> bool:
    """Return whether a provider can be asked."""
    return unavailable_reason(provider) is None


def show_ways_on(settings: Settings) -> None:
    """Say what to do if no provider is set up: set a key, or go without one."""
    found = look(settings)
    with settings_of_nobody({}) as nobody:
        keyless = [one.name for one in look(nobody) if one.state == "available"]
    ready = [one.name for one in found if one.state == "available" and one.name not in keyless]
    lacking = [one for one in found if one.state in ("not available", "misconfigured")]
    output.complain("no provider is set up yet")
    output.say()
    if ready:
        output.say(f"{ready[0]} can be asked: understudy ask --provider {ready[0]} ...", indent=2)
        always = f"To ask it every time, set LLM_PRIMARY_PROVIDER={ready[0]}, in the environment or a .env file."
        output.say(always, indent=2)
    elif lacking:
        output.say("Either give a key, in the environment or a .env file:", indent=2)
        for one in lacking:
            output.say(f"{one.name}: {one.short_reason}", "cyan", indent=4)
        output.say(
            f"and name the first one: LLM_PRIMARY_PROVIDER={lacking[0].name}; otherwise it is gemini.",
            indent=2,
        )
    else:
        output.say("Either install a provider and give it a key:", indent=2)
        for one in found:
            if one.state == "not installed":
                output.say(f"{one.name}: {one.origin}", "cyan", indent=4)
    others = ", ".join(one.name for one in found if one.state == "not loaded")
    if others:
        output.say(f"Also installed: {others}. To see what they need: understudy providers --all", indent=2)
    output.say()
    without = [f"understudy ask --provider {name} ..." for name in keyless]
    output.say(f"Or go without a key: {', or '.join(['understudy demo', *without])}", indent=2)
