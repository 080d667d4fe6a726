"""Where keys, URLs and names come from: arguments, then the environment, then `.env`, then defaults.

The only module that reads the environment, which it never changes. `.env` is read by env_file.py; the providers and
limits in `understudy.toml` are read by config_file.py; both are looked up here.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from understudy.errors import ConfigurationError
from understudy.files.config_file import ProviderTable, Tables, is_at_home, key_variable, read_tables
from understudy.files.env_file import read_env_file, tell_once
from understudy.files.reading import ForeignFile, find_file
from understudy.masking import register_secret

if TYPE_CHECKING:
    from understudy.limits import Limits

# How far a place is trusted: each one less than the one before.
_ARGUMENTS, _ENVIRONMENT, _FILES = range(3)


class _Found(NamedTuple):
    """A value, its name, where it was found, and how far that place is trusted."""

    value: str
    name: str
    origin: str
    rank: int


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
        """12 hexadecimal digits that distinguish this key from others without revealing it."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled: it would be written in clear text; read it where it is needed")


class Settings:
    """Named strings, each with the place where it was found.

    Lines of `.env` that cannot be parsed are skipped. They are logged once, and `env_faults` holds their numbers.
    A file that others can write is skipped, too, unless LLM_TRUSTED_FOLDERS names its folder; `passed_over` says why.

    Args:
        arguments: values that override everything else.
        environment: the environment; os.environ as it is now when None.
        directory: where the search for `.env`, `understudy.toml` and `understudy.lock` begins, upwards; the working
            directory when None.

    Raises:
        ConfigurationError: an argument is not a string, or one of the files cannot be read.
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
                raise ConfigurationError(f"{name} in the arguments: expected a string, found {type(value).__name__}")
        start = Path("." if directory is None else directory)
        self._layers: tuple[tuple[str, Mapping[str, str], int], ...] = (
            ("the arguments", dict(arguments or {}), _ARGUMENTS),
            ("the environment", dict(os.environ if environment is None else environment), _ENVIRONMENT),
        )
        self.trusted_folders, self._trusted_as = self._read_trusted_folders()
        self._table: ProviderTable | None = None
        self._account: list[tuple[str, _Found]] | None = None  # its keys and addresses, as they are read
        self.passed_over: tuple[str, ...] = ()
        self.lock_file = find_file("understudy.lock", start, everywhere=True)  # trust.py reads it
        self.env_faults: tuple[int, ...] = ()
        self.env_file, self.config_file = find_file(".env", start), find_file("understudy.toml", start)
        try:
            if self.env_file is not None:
                in_file, self.env_faults = read_env_file(self.env_file, self.trusts(self.env_file))
                self._layers += ((str(self.env_file), in_file, self._rank(self.env_file)),)
        except ForeignFile as error:
            self.env_file = None
            self._pass_over(error)
        file, tables = self.config_file, Tables()
        try:
            if file is not None:
                tables = read_tables(file, self._rank(file), self.trusts(file))
        except ForeignFile as error:
            self.config_file = None
            self._pass_over(error)
        self.tables: Mapping[str, ProviderTable] = tables.providers
        self.limits: Mapping[str, Limits] = tables.limits  # by label or provider name

    def __repr__(self) -> str:
        return f"Settings(env_file={str(self.env_file) if self.env_file else None!r})"

    def find(self, *names: str) -> tuple[str, str, str] | None:
        """Look up a value under several names, the first name first, each in every layer.

        Returns:
            The value stripped of white space, its name, and where it was found; None if every name is missing or
            empty.
        """
        found = self._find(*names)
        return found[:3] if found else None

    def _find(self, *names: str) -> _Found | None:
        for name in names:
            for origin, values, rank in self._layers:
                value = values.get(name)
                if value is not None:
                    if value.strip():
                        return _Found(value.strip(), name, origin, rank)
                    break  # an empty value in a higher layer hides those below, as in a shell
        return None

    def _read_trusted_folders(self) -> tuple[frozenset[Path], int]:
        """Read LLM_TRUSTED_FOLDERS before any file: what a file says about itself does not count."""
        found = self._find("LLM_TRUSTED_FOLDERS")
        folders = [os.path.expanduser(text) for text in self.names("LLM_TRUSTED_FOLDERS")]
        for folder in folders:
            if found and not os.path.isabs(folder):
                raise ConfigurationError(
                    f"{found.name} in {found.origin}: expected absolute paths of folders, separated by commas, as in "
                    f"{Path.cwd()}, found {folder!r}"
                )
        return frozenset(map(Path, map(os.path.realpath, folders))), found.rank if found else _FILES

    def trusts(self, file: Path) -> bool:
        """Return whether LLM_TRUSTED_FOLDERS, in the arguments or the environment, names a file's folder."""
        return file.parent in self.trusted_folders

    def _rank(self, file: Path) -> int:
        return self._trusted_as if self.trusts(file) else _FILES

    def _pass_over(self, error: ForeignFile) -> None:
        self.passed_over += (str(error),)
        tell_once(str(error), "%s", error)

    def get(self, *names: str, default: str | None = None) -> str | None:
        """Return the first of these settings that is there and not empty, or the default."""
        found = self.find(*names)
        return found[0] if found else default

    def missing(self, *names: str) -> str:
        """Say in one sentence what to set, and which of the names is present but empty.

        Args:
            names: the provider's own variables for it; if the provider goes by another name, its table's variable
                replaces them.
        """
        if self._table is not None:
            if self._table.api_key_env is None and self._table.base_url is not None:
                return f'{self._table.origin}: expected api_key_env = "VARIABLE" ("" for a server without keys)'
            names = (self._table.api_key_env or names[0],) if self._table.api_key_env else names
        for name in names:
            for origin, values, _ in self._layers:
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
        found = self._find(*names)
        if found is None:
            return None
        value, name, origin, _ = found
        register_secret(value)
        bad = next((c for c in value if not "!" <= c <= "~"), None)
        if bad is not None:
            raise ConfigurationError(
                f"{name} in {origin}: expected a key of printable ASCII characters without spaces, "
                f"found {_name_character(bad)} inside it; copy the key again"
            )
        self._join("key", found)
        return Secret(value)

    def credentials_file(self, name: str) -> str | None:
        """Return the path of a credentials file, and note that an account has credentials, its own or the machine's.

        They are trusted as the environment is, no matter who names them: a `.env` could name any file.
        """
        found = self._find(name)
        machine = _Found("", "credentials of this machine", "the environment", _ENVIRONMENT)
        self._join("key", found if found and found.rank < _ENVIRONMENT else machine)
        return found.value if found else None

    def sends(self, *names: str) -> None:
        """Note that these values are also sent to an account's address, because the SDK makes headers of them, say."""
        for found in filter(None, map(self._find, names)):
            self._join("key", found)

    def url(self, *names: str, default: str | None = None) -> str | None:
        """Return a base URL without its trailing slash; the default where none is set.

        Raises:
            ConfigurationError: it is set and empty, or has no scheme http or https, or no host.
        """
        for name in names:
            for origin, values, rank in self._layers:
                value = values.get(name)
                if value is not None:
                    self._join("address", _Found(value, name, origin, rank))
                    return _check_url(value.strip(), name, origin)
        return default

    def find_address(self, *names: str) -> tuple[str, str, str] | None:
        """Look up an address that is not a URL, as `find` does."""
        found = self._find(*names)
        if found is not None:
            self._join("address", found)
        return found[:3] if found else None

    def for_account(self) -> Settings:
        """Return these settings for reading one key and one address: the key must not come from a more trusted place.

        Raises:
            ConfigurationError: from the returned settings, when the second of the two is read and does not fit.
        """
        own = copy.copy(self)
        own._account = list(self._account or ())
        return own

    def _join(self, what: str, found: _Found) -> None:
        """Note a "key" or an "address" of an account, and check that each key may be sent to each address."""
        if self._account is None:
            return
        self._account.append((what, found))
        keys, addresses = ([one for kind, one in self._account if kind == wanted] for wanted in ("key", "address"))
        for key, address in itertools.product(keys, addresses):
            if key.rank >= address.rank or is_at_home(key.name, address.value):
                continue
            of_table = address.name == "base_url"
            file = self.config_file if of_table else self.env_file
            where = address.origin.replace(str(file), file.name) if file else address.origin
            ways = [] if of_table else [f"that in {key.origin} too"]
            if file is not None and address.rank == _FILES:
                ways.append(self._trusting(file))
            raise ConfigurationError(  # short, since a record shows only the beginning
                f"{key.name} of {key.origin} does not go to {address.name} of {where}: set {', or '.join(ways)}; "
                "whoever can change the less trusted place would get it"
            )

    @staticmethod
    def _trusting(file: Path) -> str:
        return f"LLM_TRUSTED_FOLDERS={file.parent} if you trust whoever writes there"

    def for_provider(self, name: str) -> Settings:
        """Return these settings as the provider of that name sees them: with its table, where it has one."""
        own = self.for_account()
        own._table = self.tables.get(name)
        return own

    def under_name(self, name: str, *, base_url: str, api_key_env: str | None, model: str) -> Settings:
        """Return these settings for a package that is another provider under a name of its own.

            OpenAIProvider(settings.under_name("parrot", base_url=..., api_key_env="PARROT_API_KEY", model=...))

        What a table of `understudy.toml` says about the key overrides the package; `base_url()` and `model()` of the
        settings that the hook received return what it says about the rest.

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
            table.transport if table else None,
        )
        return own

    @property
    def provider_name(self) -> str | None:
        """The name that the provider goes by, if `understudy.toml` or its package gives it one of its own."""
        return self._table.name if self._table else None

    @property
    def needs_key(self) -> bool:
        """Whether a key is needed; not where `understudy.toml` says api_key_env = ""."""
        return self._table is None or self._table.api_key_env != ""

    def api_key(self, *names: str) -> Secret | None:
        """Return a provider's key: from the variable that its table names, else from the first of these that is set.

        A table with a `base_url` and no `api_key_env` has none: the vendor's own key must not go to another host.

        Raises:
            ConfigurationError: the key is malformed, or not one that the table may name.
        """
        table = self._table
        if table is None or (table.api_key_env is None and table.base_url is None):
            return self.secret(*names)
        if not table.api_key_env:
            return None
        found, own = self._find(table.api_key_env), (key_variable(table.name), *names)
        known = is_at_home(table.api_key_env, table.base_url or "")
        if found is not None and found.rank < self._table_rank("api_key_env") and found.name not in own and not known:
            raise ConfigurationError(
                f"api_key_env in {table.origin}: expected {' or '.join(own)}, found {found.name!r} of {found.origin}, "
                "but a file may not send just any variable; rename it, or set "
                + self._trusting(self.config_file or Path())
            )
        return self.secret(table.api_key_env)

    def base_url(self, *names: str, default: str) -> str:
        """Return a provider's address: its table's, else the first of these that is set, else the default.

        Raises:
            ConfigurationError: the address is malformed.
        """
        if self._table is not None and self._table.base_url is not None:
            rank = self._table_rank("base_url")
            address = _Found(self._table.base_url.strip(), "base_url", self._table.origin, rank)
            self._join("address", address)
            return _check_url(*address[:3])
        return self.url(*names, default=default) or default

    def _table_rank(self, key: str) -> int:
        """Return how far the source of a table's value is trusted: the file, or the package's own code."""
        table = self.tables.get(self.provider_name or "")
        return _ARGUMENTS if table is None or getattr(table, key) is None else table.rank

    def model(self, *names: str, default: str) -> str:
        """Return a provider's model: its table's, else the first of these that is set, else the default."""
        own = self._table.model if self._table else None
        return own or self.get(*names) or default

    @staticmethod
    def credential(key: Secret | None, base_url: str = "", *, default: str = "") -> str:
        """Return a word for the account that a key opens at an address, for a provider's `credential`.

        Args:
            key: the key; if there is none, a name and a password in the address replace it.
            base_url: the address.
            default: the vendor's own address, which is left out.

        Returns:
            The key's fingerprint, and the address where it is not the default: "5e884898da28@127.0.0.1:8080/v1"; ""
            without either. It reveals neither key nor password.
        """
        parts = urlsplit(base_url)
        login, _, place = parts.netloc.rpartition("@")
        secret = key or (Secret(login) if login else None)
        word = secret.fingerprint if secret is not None else ""
        return word if base_url == default else f"{word}@{place}{parts.path}"

    def names(self, name: str) -> tuple[str, ...]:
        """Return a comma-separated setting as its entries, empty ones left out."""
        return tuple(entry.strip() for entry in (self.get(name) or "").split(",") if entry.strip())


def _check_url(value: str, name: str, origin: str) -> str:
    fault = _find_fault(value)
    if fault:  # the value itself is not shown: it may hold a password, or be a key in the wrong place
        raise ConfigurationError(
            f"{name} in {origin}: expected a URL such as https://host or http://127.0.0.1:8080, found {fault}; "
            "correct it or remove the variable"
        )
    parts = urlsplit(value)
    login = unquote(parts.username or ""), unquote(parts.password or "")
    for secret in (parts.password or parts.username or "", login[1] or login[0]):
        register_secret(secret)
    if any(login):  # as a header has it
        register_secret(base64.b64encode(":".join(login).encode()).decode())
    return value.rstrip("/")


def _find_fault(url: str) -> str | None:
    bad = next((c for c in url if not "!" <= c <= "~"), None)
    if not url or bad:
        return f"{_name_character(bad)} inside it" if bad else "nothing"
    if not url.lower().startswith(("http://", "https://")):
        return "one that does not begin with http:// or https://"
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
