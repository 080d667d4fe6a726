"""What is set up here: who can be asked, and what is missing where nobody can."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from understudy_cli import output

if TYPE_CHECKING:
    from understudy import LLMProvider, Settings

State = Literal["available", "not available", "misconfigured", "broken", "ambiguous", "not installed"]


@dataclass(frozen=True, slots=True)
class Found:
    """One provider's name as it is found here.

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
        """The model that is asked when nobody names one."""
        model: str | None = getattr(self.provider, "default_model", None)
        return model

    @property
    def short_reason(self) -> str:
        """The reason, without the name and the origin at its beginning."""
        return self.reason.partition("): ")[2] if self.reason.startswith(f"provider {self.name!r} (") else self.reason


@contextlib.contextmanager
def settings_of_nobody(arguments: Mapping[str, str]) -> Iterator[Settings]:
    """Make settings that hold these values and know nothing of the user's environment and `.env`."""
    from understudy import Settings

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, ".env").touch()  # the search for `.env` ends here
        yield Settings(arguments, environment={}, directory=directory)


def look(settings: Settings) -> list[Found]:
    """Make every installed provider, as a route would, and tell what became of it."""
    from understudy import LLMFactory

    registry = LLMFactory.PROVIDER_REGISTRY
    return [look_at(known.name, known.state, known.origin, settings) for known in registry.describe()]


def look_at(name: str, state: str, origin: str, settings: Settings) -> Found:
    """Make one provider and tell whether it can be asked; one that is broken harms nobody."""
    from understudy import AmbiguousProvider, ConfigurationError, LLMFactory, PluginError

    if state == "not installed":
        return Found(name, "not installed", origin)
    try:
        provider = LLMFactory.PROVIDER_REGISTRY.build(name, settings)
    except AmbiguousProvider as error:
        return Found(name, "ambiguous", origin, str(error))
    except PluginError as error:
        return Found(name, "broken", origin, str(error))
    except ConfigurationError as error:
        return Found(name, "misconfigured", origin, str(error))
    reason = unavailable_reason(provider)
    return Found(name, "available" if reason is None else "not available", origin, reason or "", provider)


def unavailable_reason(provider: LLMProvider) -> str | None:
    """Say why a provider cannot be asked, or None; one that fails to say it cannot be asked either."""
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
    """Say what to do where nobody is set up to be asked: set a key, or go without one."""
    found = look(settings)
    with settings_of_nobody({}) as nobody:
        keyless = [one.name for one in look(nobody) if one.state == "available"]
    ready = [one.name for one in found if one.state == "available" and one.name not in keyless]
    lacking = [one for one in found if one.state in ("not available", "misconfigured")]
    output.complain("nobody is set up to be asked yet")
    output.say()
    if ready:
        output.say(f"{ready[0]} can be asked: understudy ask --provider {ready[0]} ...", indent=2)
        always = f"To ask it every time, set LLM_PRIMARY_PROVIDER={ready[0]}, in the environment or a .env file."
        output.say(always, indent=2)
    elif lacking:
        output.say("Either give a key, in the environment or a .env file:", indent=2)
        for one in lacking:
            output.say(f"{one.name}: {one.short_reason}", "cyan", indent=4)
        output.say(f"and say who is asked first: LLM_PRIMARY_PROVIDER={lacking[0].name}; else it is gemini.", indent=2)
    else:
        output.say("Either install a provider and give it a key:", indent=2)
        for one in found:
            if one.state == "not installed":
                output.say(f"{one.name}: {one.origin}", "cyan", indent=4)
    output.say()
    without = [f"understudy ask --provider {name} ..." for name in keyless]
    output.say(f"Or go without a key: {', or '.join(['understudy demo', *without])}", indent=2)
