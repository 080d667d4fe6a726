"""Where keys, URLs and names come from: arguments, then the environment, then `.env`, then defaults.

The only module that reads the environment or a `.env` file. It never changes os.environ. What `understudy.toml` says
of providers under names of their own, and of limits, is read by config_file.py and answered from here.
"""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from understudy.config_file import ProviderTable, read_tables
from understudy.errors import ConfigurationError
from understudy.masking import register_secret

if TYPE_CHECKING:
    from understudy.limits import Limits

logger = logging.getLogger("understudy")

_told: dict[tuple[Path, tuple[int, ...]], object] = {}  # files whose faults were logged already


class Secret:
    """A key that no log, repr or format string shows.

    Args:
        value: the key itself.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        register_secret(value)

    def reveal(self) -> str:
        """Return the key, to be handed to an SDK and nowhere else."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that tell this key from others, and from which it cannot be found."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled: the key would be written in clear; read it where it is needed")


class Settings:
    """Named texts, each with the place where it was found.

    Lines of `.env` that cannot be parsed are passed over. They are logged once, and `env_faults` holds their numbers.

    Args:
        arguments: values that override everything else.
        environment: the environment; os.environ as it is now when None.
        directory: where the search for `.env`, `understudy.toml` and `understudy.lock` begins, upwards; the working
            directory when None.

    Raises:
        ConfigurationError: an argument is not a text, or one of the files cannot be read.
    """

    def __init__(
        self,
        arguments: Mapping[str, str] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        directory: str | Path | None = None,
    ) -> None:
        for name, value in (arguments or {}).items():
            if not isinstance(value, str):
                raise ConfigurationError(f"{name} in the arguments: expected a text, found {type(value).__name__}")
        start = Path("." if directory is None else directory)
        self.env_file = find_file(".env", start)
        self.config_file = find_file("understudy.toml", start)
        self.lock_file = find_file("understudy.lock", start)  # trust.py reads it, when a plugin is to load
        tables = read_tables(self.config_file)
        self.tables: Mapping[str, ProviderTable] = tables.providers
        self.limits: Mapping[str, Limits] = tables.limits  # by label or provider name
        self._table: ProviderTable | None = None
        in_file, self.env_faults = _read_env_file(self.env_file) if self.env_file else ({}, ())
        self._layers: tuple[tuple[str, Mapping[str, str]], ...] = (
            ("the arguments", dict(arguments or {})),
            ("the environment", dict(os.environ if environment is None else environment)),
            (str(self.env_file), in_file),
        )

    def __repr__(self) -> str:
        return f"Settings(env_file={str(self.env_file) if self.env_file else None!r})"

    def find(self, *names: str) -> tuple[str, str, str] | None:
        """Look up a value under several names, the first name first, each in every layer.

        Returns:
            The value stripped of white space, the name it stood under, and where it was found; None where every name is
            missing or empty.
        """
        for name in names:
            for origin, values in self._layers:
                value = values.get(name)
                if value is not None:
                    if value.strip():
                        return value.strip(), name, origin
                    break  # an empty value in a higher layer hides those below, as in a shell
        return None

    def get(self, *names: str, default: str | None = None) -> str | None:
        """Return the first of these settings that is there and not empty, or the default."""
        found = self.find(*names)
        return found[0] if found else default

    def missing(self, *names: str) -> str:
        """Say in one sentence what to set, and which of the names is present but empty.

        Args:
            names: the provider's own variables for it; where the provider goes by another name, its table's stand
                for them.
        """
        if self._table is not None:
            if self._table.api_key_env is None and self._table.base_url is not None:
                return f'{self._table.origin}: expected api_key_env = "VARIABLE" ("" for a server without keys)'
            names = (self._table.api_key_env or names[0],) if self._table.api_key_env else names
        for name in names:
            for origin, values in self._layers:
                if name in values and not values[name].strip():
                    return f"{name} is empty in {origin}: expected a value"
        where = f"in the environment or {self.env_file or 'a .env file'}"
        return f"{names[0]} is not set: expected it {where}" + (
            f" (or {', '.join(names[1:])})" if len(names) > 1 else ""
        )

    def secret(self, *names: str) -> Secret | None:
        """Return a key, checked and wrapped so that nothing prints it; None where it is missing or empty.

        Raises:
            ConfigurationError: the key holds white space, control characters, or letters outside ASCII.
        """
        found = self.find(*names)
        if found is None:
            return None
        value, name, origin = found
        register_secret(value)
        bad = next((c for c in value if not "!" <= c <= "~"), None)
        if bad is not None:
            raise ConfigurationError(
                f"{name} in {origin}: expected a key of printable ASCII characters without spaces, "
                f"found {_name_character(bad)} inside it; copy the key again"
            )
        return Secret(value)

    def url(self, *names: str, default: str | None = None) -> str | None:
        """Return a base URL without its trailing slash; the default where none is set.

        Raises:
            ConfigurationError: it is set and empty, or has no scheme http or https, or no host.
        """
        for name in names:
            for origin, values in self._layers:
                value = values.get(name)
                if value is not None:
                    return _check_url(value.strip(), name, origin)
        return default

    def for_provider(self, name: str) -> Settings:
        """Return these settings as the provider of that name sees them: with its table, where it has one."""
        table = self.tables.get(name)
        if table is None:
            return self
        own = copy.copy(self)
        own._table = table
        return own

    def under_name(self, name: str, *, base_url: str, api_key_env: str | None, model: str) -> Settings:
        """Return these settings for a package that is another provider under a name of its own.

            OpenAIProvider(settings.under_name("parrot", base_url=..., api_key_env="PARROT_API_KEY", model=...))

        What a table of `understudy.toml` says about the key overrides the package; `base_url()` and `model()` of the
        settings that the hook was given know what it says about the rest.

        Args:
            name: the package's name for the provider.
            base_url: its address.
            api_key_env: the variable that holds its key; "" for a server without keys.
            model: the model that is asked by default.
        """
        table = self._table
        if table is not None and (table.api_key_env is not None or table.base_url is not None):
            api_key_env = table.api_key_env  # a key never follows another address
        own = copy.copy(self)
        own._table = ProviderTable(
            table.name if table else name,
            table.origin if table else f"the provider {name!r}",
            name,
            base_url,
            api_key_env,
            model,
        )
        return own

    @property
    def provider_name(self) -> str | None:
        """The name that the provider goes by, where `understudy.toml` or its package gives it one of its own."""
        return self._table.name if self._table else None

    @property
    def needs_key(self) -> bool:
        """Whether a key is needed; not where `understudy.toml` says api_key_env = ""."""
        return self._table is None or self._table.api_key_env != ""

    def api_key(self, *names: str) -> Secret | None:
        """Return a provider's key: from the variable that its table names, else from the first of these that is set.

        A table with a `base_url` and no `api_key_env` has none: the vendor's own key must not go to another host.

        Raises:
            ConfigurationError: the key is malformed.
        """
        if self._table is not None and (self._table.api_key_env is not None or self._table.base_url is not None):
            return self.secret(self._table.api_key_env) if self._table.api_key_env else None
        return self.secret(*names)

    def base_url(self, *names: str, default: str) -> str:
        """Return a provider's address: its table's, else the first of these that is set, else the default.

        Raises:
            ConfigurationError: the address is malformed.
        """
        if self._table is not None and self._table.base_url is not None:
            return _check_url(self._table.base_url.strip(), "base_url", self._table.origin)
        return self.url(*names, default=default) or default

    def model(self, *names: str, default: str) -> str:
        """Return a provider's model: its table's, else the first of these that is set, else the default."""
        own = self._table.model if self._table else None
        return own or self.get(*names) or default

    @staticmethod
    def credential(key: Secret | None, base_url: str = "", *, default: str = "") -> str:
        """Return a word for the account that a key opens at an address: what a provider's `credential` is.

        Args:
            key: the key; where there is none, a name and a password in the address stand for it.
            base_url: the address.
            default: the vendor's own address, which goes without saying.

        Returns:
            The key's fingerprint, and the address where it is not the default: "5e884898da28@127.0.0.1:8080/v1"; ""
            without either. Neither key nor password can be found from it.
        """
        parts = urlsplit(base_url)
        login, _, place = parts.netloc.rpartition("@")
        secret = key or (Secret(login) if login else None)
        word = secret.fingerprint if secret is not None else ""
        return word if base_url == default else f"{word}@{place}{parts.path}"

    def names(self, name: str) -> tuple[str, ...]:
        """Return a comma-separated setting as its entries, empty ones left out."""
        return tuple(entry.strip() for entry in (self.get(name) or "").split(",") if entry.strip())


def find_file(name: str, directory: Path) -> Path | None:
    """Find the nearest file of a name in a directory or those above it; None where there is none.

    What is not a file is passed over: a folder of that name, or a pipe, which could wait for ever.
    """
    try:
        start = directory.resolve()
        return next((file for folder in (start, *start.parents) if (file := folder / name).is_file()), None)
    except OSError:  # the directory was removed, or one above may not be entered
        return None


def _read_env_file(path: Path) -> tuple[Mapping[str, str], tuple[int, ...]]:
    """Return what a `.env` says, and the numbers of the lines that are passed over because they cannot be parsed."""
    from dotenv.parser import parse_stream

    try:
        text = path.read_text("utf-8-sig")  # an editor may have put a byte order mark before the first name
    except OSError as error:
        raise ConfigurationError(f"{path}: expected a file that can be read, found: {error.strerror}") from error
    except UnicodeDecodeError as error:
        place = error.start
    else:
        values: dict[str, str | None] = {}
        faults: list[int] = []
        for binding in parse_stream(io.StringIO(text)):
            if binding.error:  # what it begins with are the empty lines before it
                start = binding.original.string
                faults.append(binding.original.line + start[: len(start) - len(start.lstrip())].count("\n"))
            elif binding.key is not None:
                values[binding.key] = binding.value
        if faults:
            _tell_of_faults(path, tuple(faults))
        return {name: value for name, value in values.items() if value is not None}, tuple(faults)
    # Out here, because that error holds the file's whole contents.
    raise ConfigurationError(
        f"{path}: expected text in UTF-8, found another encoding at byte {place}; save it as UTF-8"
    )


def _tell_of_faults(path: Path, lines: tuple[int, ...]) -> None:
    news = object()
    if _told.setdefault((path, lines), news) is news:  # the line itself may hold a key: it is not shown
        where = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
        logger.warning("%s, %s: expected NAME=value, found something else, which is passed over", path, where)


def _check_url(value: str, name: str, origin: str) -> str:
    fault = _find_fault(value)
    if fault:  # the value itself is not shown: it may hold a password, or be a key in the wrong place
        raise ConfigurationError(
            f"{name} in {origin}: expected a URL such as https://host or http://127.0.0.1:8080, found {fault}; "
            "correct it or remove the variable"
        )
    parts = urlsplit(value)
    register_secret(parts.password or parts.username or "")
    return value.rstrip("/")


def _find_fault(url: str) -> str | None:
    bad = next((c for c in url if not "!" <= c <= "~"), None)
    if not url or bad:
        return f"{_name_character(bad)} inside it" if bad else "nothing"
    if not url.lower().startswith(("http://", "https://")):
        return "one without http:// or https:// at its beginning"
    if "?" in url or "#" in url:
        return "one with a query or fragment, after which no path can be added"
    try:
        parts = urlsplit(url)
        return None if parts.hostname and parts.port != 0 else "one without a host, or with port 0"
    except ValueError:
        return "one whose host or port cannot be read"


def _name_character(character: str) -> str:
    names = {" ": "a space", "\n": "a line break", "\r": "a carriage return", "\t": "a tab"}
    return names.get(character, f"the character U+{ord(character):04X}")
