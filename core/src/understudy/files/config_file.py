"""The contents of `understudy.toml`: named providers, and limits.

    [providers.groq]
    uses = "openai"
    base_url = "https://api.groq.com/openai/v1"
    api_key_env = "GROQ_API_KEY"
    model = "llama-3.3-70b-versatile"

    [limits.groq]
    requests_per_minute = 30

Then `groq` works in a route like any other name. This file never holds a key, only the name of its variable.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.errors import ConfigurationError
from understudy.files.reading import read_toml

if TYPE_CHECKING:
    from understudy.limits import Limits

Entry = TypeVar("Entry")

_KEYS = ("uses", "base_url", "api_key_env", "model", "transport")
# Where a vendor's key may be sent whoever says so: to that vendor (genai-prices 0.2.3, data.py, the api_pattern of each
# provider, read 2026-11-30).
_HOSTS = {
    "ANTHROPIC_API_KEY": "api.anthropic.com",
    "CEREBRAS_API_KEY": "api.cerebras.ai",
    "COHERE_API_KEY": "api.cohere.com",
    "DEEPSEEK_API_KEY": "api.deepseek.com",
    "FIREWORKS_API_KEY": "api.fireworks.ai",
    "GROQ_API_KEY": "api.groq.com",
    "MISTRAL_API_KEY": "api.mistral.ai",
    "OPENAI_API_KEY": "api.openai.com",
    "OPENROUTER_API_KEY": "openrouter.ai",
    "PERPLEXITY_API_KEY": "api.perplexity.ai",
    "TOGETHER_API_KEY": "api.together.xyz",
    "XAI_API_KEY": "api.x.ai",
}


@dataclass(frozen=True, slots=True)
class ProviderTable:
    """One table `[providers.NAME]`.

    Args:
        name: what the route calls it.
        origin: the file and the table, for messages.
        uses: the installed or registered provider that does the work.
        base_url: where it is reached; None for that provider's own address.
        api_key_env: the variable that holds the key; "" for a server without keys; None where nothing is said.
        model: the default model; None for that provider's own.
        transport: the lane on which it is asked, where its plugin has several; None where nothing is said.
        rank: how far the file is trusted: 0 as the arguments are, 1 as the environment, 2 as a file.
    """

    name: str
    origin: str
    uses: str
    base_url: str | None = field(default=None, repr=False)  # it may hold a password
    api_key_env: str | None = None
    model: str | None = None
    transport: str | None = None
    rank: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a file.

    Args:
        providers: the tables `[providers.NAME]` by their names.
        limits: the tables `[limits.NAME]`, each NAME a label of a route ("claude:claude-haiku-4-5") or the name of a
            provider.
    """

    providers: Mapping[str, ProviderTable] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)


def key_variable(name: str) -> str:
    """Return the variable that holds the key of a provider of that name, where nothing else is said."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper()) + "_API_KEY"


def is_at_home(variable: str, url: str) -> bool:
    """Return whether an address is that of the vendor whose key a variable holds, as far as that is known."""
    host = _HOSTS.get(variable)
    return host is not None and re.fullmatch(rf"https://{re.escape(host)}(?::443)?(?:/.*)?", url.strip()) is not None


def read_tables(file: Path, rank: int = 0, trusted: bool = False) -> Tables:
    """Read the tables of a file.

    Args:
        file: the file.
        rank: how far it is trusted.
        trusted: whether it is read whoever owns it.

    Raises:
        ForeignFile: somebody else can write it.
        ConfigurationError: the file cannot be read, or says something that is not understood.
    """
    document = read_toml(file, trusted=trusted)
    providers, limits = document.pop("providers", {}), document.pop("limits", {})
    if document or not isinstance(providers, dict) or not isinstance(limits, dict):
        wrong = "limits" if isinstance(providers, dict) else "providers"
        found = ", ".join(map(repr, document)) or f"something else under {wrong!r}"
        raise ConfigurationError(f"{file}: expected tables [providers.NAME] and [limits.NAME], found {found}")
    named = _read_each("providers", providers, _read_provider, file)
    return Tables(
        {name: replace(table, rank=rank) for name, table in named.items()},
        _read_each("limits", limits, _read_limits, file),
    )


def _read_each(
    kind: str, tables: Mapping[str, Any], read: Callable[[str, dict[str, Any], str], Entry], file: Path
) -> dict[str, Entry]:
    """Read the tables of one kind, each by its name."""
    entries = {}
    for name, values in tables.items():
        origin = f"[{kind}.{name}] in {file}"
        if not isinstance(values, dict):
            raise ConfigurationError(f"{origin}: expected a table, found {type(values).__name__}")
        entries[name] = read(name, values, origin)
    return entries


def _read_provider(name: str, values: dict[str, Any], origin: str) -> ProviderTable:
    if any(character in name for character in " :,") or not name:
        raise ConfigurationError(f"{origin}: expected a name without blanks, colons and commas, found {name!r}")
    _check_keys(values, _KEYS, origin)
    for key, value in values.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"{origin}: expected {key} as a text, found {type(value).__name__}")
    if not values.get("uses"):
        raise ConfigurationError(f'{origin}: expected uses = "NAME" with the provider that does the work, found none')
    return ProviderTable(name, origin, **values)


def _read_limits(name: str, values: dict[str, Any], origin: str) -> Limits:
    from understudy.limits import KEYS, Limits

    if any(isinstance(value, dict) for value in values.values()):
        raise ConfigurationError(
            f'{origin}: expected numbers, found a table; a name with dots stands in quotes: [limits."NAME"]'
        )
    _check_keys(values, KEYS, origin)
    if not values:
        raise ConfigurationError(f"{origin}: expected {', '.join(KEYS)}, found none of them")
    try:
        return Limits(**values)
    except ValueError as error:
        raise ConfigurationError(f"{origin}: {error}") from None


def _check_keys(values: Iterable[str], known: Iterable[str], origin: str) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"{origin}: expected {', '.join(known)}, found {key!r}{hint}")
