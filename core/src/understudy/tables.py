"""Providers under names of their own, from `understudy.toml`.

    [providers.groq]
    uses = "openai"
    base_url = "https://api.groq.com/openai/v1"
    api_key_env = "GROQ_API_KEY"
    model = "llama-3.3-70b-versatile"

Then `groq` stands in a route like any other name. A key is never in this file: only the name of its variable is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import ConfigurationError

_KEYS = ("uses", "base_url", "api_key_env", "model")


@dataclass(frozen=True, slots=True)
class ProviderTable:
    """One table `[providers.NAME]`.

    Args:
        name: what the route calls it.
        origin: the file and the table, for messages.
        uses: the installed or registered provider that does the work.
        base_url: where it is reached; None for that provider's own address.
        api_key_env: the variable that holds the key; "" for a server without keys; None where nothing is said.
        model: the model that is asked by default; None for that provider's own.
    """

    name: str
    origin: str
    uses: str
    base_url: str | None = None
    api_key_env: str | None = None
    model: str | None = None


def read_tables(file: Path | None) -> Mapping[str, ProviderTable]:
    """Read the tables of a file by their names; none where there is no file.

    Raises:
        ConfigurationError: the file cannot be read, or says something that is not understood.
    """
    if file is None:
        return {}
    import tomllib

    try:
        document = tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{file}: expected a file that can be read, found: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: expected TOML in UTF-8, found: {error}") from error
    providers = document.pop("providers", {})
    if document or not isinstance(providers, dict):
        found = ", ".join(map(repr, document)) or "something else under 'providers'"
        raise ConfigurationError(f"{file}: expected tables [providers.NAME], found {found}")
    return {name: _read_table(name, values, f"[providers.{name}] in {file}") for name, values in providers.items()}


def _read_table(name: str, values: Any, origin: str) -> ProviderTable:
    if not isinstance(values, dict):
        raise ConfigurationError(f"{origin}: expected a table, found {type(values).__name__}")
    if any(character in name for character in " :,") or not name:
        raise ConfigurationError(f"{origin}: expected a name without blanks, colons and commas, found {name!r}")
    for key, value in values.items():
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"{origin}: expected {', '.join(_KEYS)}, found {key!r}{hint}")
        if not isinstance(value, str):
            raise ConfigurationError(f"{origin}: expected {key} as a text, found {type(value).__name__}")
    if not values.get("uses"):
        raise ConfigurationError(f'{origin}: expected uses = "NAME" with the provider that does the work, found none')
    return ProviderTable(name, origin, **values)
