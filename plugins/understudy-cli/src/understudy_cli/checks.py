"""What `understudy doctor` checks. Each check yields findings; none of them sends a vendor anything."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from understudy import ChatProvider, ConfigurationError, LLMFactory, Policy, Settings
from understudy.discovery import load_extensions
from understudy.discovery.packages import source_of
from understudy.errors import PluginError
from understudy.files.reading import read_file
from understudy_cli.availability import PRIMARY, Found, look, read_route, settings_of_nobody

OURS = (
    "LLM_PRIMARY_PROVIDER",
    "LLM_FALLBACK_PROVIDERS",
    "LLM_POLICY",
    "LLM_EXTENSIONS",
    "LLM_TRUSTED_PLUGINS",
    "LLM_TRUSTED_FOLDERS",
)
KEYS = (
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "COHERE_API_KEY",
    "CO_API_KEY",
    "OLLAMA_API_KEY",
)
_KEY_NAME = re.compile(r"\b[A-Z][A-Z0-9_]*_(?:KEY|TOKEN)\b")
_DAY = re.compile(r"\b\d{4}-\d\d-\d\d\b")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Args:
        about: what was checked, in a word.
        good: True if all is well, False for a problem, None for something worth knowing.
        what: what was found.
        cure: how to fix it.
    """

    about: str
    good: bool | None
    what: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks look at.

    Args:
        settings: the settings as every command reads them.
        environment: the environment.
        in_file: the names that the `.env` file sets.
        found: every provider, with what was found of it here.
        key_names: the variables that hold keys: the vendors', and those that an installed provider asks for.
    """

    settings: Settings
    environment: Mapping[str, str]
    in_file: frozenset[str]
    found: tuple[Found, ...]
    key_names: tuple[str, ...]

    @classmethod
    def look_around(cls, environment: Mapping[str, str]) -> Surroundings:
        """Read the settings and make every provider.

        Raises:
            ConfigurationError: the `.env` file cannot be read.
        """
        settings = Settings(environment=environment)
        file = settings.env_file
        text = read_file(file, trusted=settings.trusts(file)).decode("utf-8-sig") if file else ""
        in_file = re.findall(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", text, re.MULTILINE)
        with settings_of_nobody({}) as nobody:
            reasons = [one.reason for one in look(nobody, [stop.partition(":")[0] for stop in read_route(settings)])]
        asked = [name for reason in reasons for name in _KEY_NAME.findall(reason)]
        tables = [table.api_key_env for table in settings.tables.values() if table.api_key_env]
        key_names = tuple(dict.fromkeys([*KEYS, *asked, *tables]))
        return cls(settings, environment, frozenset(in_file), tuple(look(settings)), key_names)

    def known(self, name: str) -> Found | None:
        """Return what was found under a provider's name, where it is installed."""
        return next((one for one in self.found if one.name == name and one.state != "not installed"), None)


def check_files(around: Surroundings) -> Iterator[Finding]:
    """Which `.env` and which `understudy.toml` are in force, and what in `.env` cannot be parsed."""
    settings = around.settings
    file, tables = settings.env_file, settings.tables
    for why in settings.passed_over:
        what, _, cure = why.partition("; ")
        name = "understudy.toml" if "understudy.toml is not read" in what else ".env"
        yield Finding(name, False, what, cure)
    for folder in sorted(settings.trusted_folders):
        what = f"LLM_TRUSTED_FOLDERS trusts {folder}: files there may send your keys to any address"
        yield Finding(
            "trusted folder", None if folder.is_dir() else False, what, "make sure that nobody else can write there"
        )
    if file is None and not any(".env is not read" in why for why in settings.passed_over):
        yield Finding(".env", True, "there is none in this directory or above it: only the environment counts")
    elif file is not None:
        yield Finding(".env", True, f"{file} is in force; the environment overrides it")
    for line in settings.env_faults:
        cure = "write NAME=value there; quotes around the value must be closed"
        yield Finding(".env", False, f"{file}, line {line}: it cannot be parsed, and is skipped", cure)
    if settings.config_file is not None:
        names = ", ".join(tables) or "nobody"
        yield Finding("understudy.toml", True, f"{settings.config_file} is in force, and names {names}")


def check_addresses(around: Surroundings) -> Iterator[Finding]:
    """Which addresses come from files, since whoever writes there decides where prompts go."""
    settings = around.settings
    for name in sorted(around.in_file):
        found = settings.find(name) if name.endswith(("_BASE_URL", "_API_URL", "_HOST")) else None
        if found is not None and found[2] == str(settings.env_file):
            yield Finding("address", None, f"{name} in {found[2]} says where prompts go", "make sure that it is yours")
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            cure = "set it in the environment, if it is meant"
            yield Finding("address", None, f"{name} in {settings.env_file}: nothing reads a proxy from a file", cure)
    for table in settings.tables.values():
        if table.base_url is not None:
            yield Finding("address", True, f"base_url in {table.origin} says where prompts go")


def check_names(around: Surroundings) -> Iterator[Finding]:
    """Variables that look like ours and are not."""
    settings = around.settings
    for name in sorted({*around.environment, *around.in_file}):
        origin = "the environment" if name in around.environment else str(settings.env_file)
        if name.startswith("LLM_") and name not in OURS:
            near = difflib.get_close_matches(name, OURS, 1, 0.8)
            if near:
                yield Finding(name, False, f"found in {origin}; nothing reads it", f"did you mean {near[0]}?")
            else:
                cure = f"ours are {', '.join(OURS)}; it may belong to another program"
                yield Finding(name, None, f"found in {origin}; nothing of Understudy reads it", cure)
        elif name not in around.key_names:
            near = difflib.get_close_matches(name, around.key_names, 1, 0.9)
            if near and settings.find(near[0]) is None:
                cure = f"did you mean {near[0]}, which is not set?"
                yield Finding(name, None, f"found in {origin}; no vendor's key has this name", cure)


def check_keys(around: Surroundings) -> Iterator[Finding]:
    """Which keys are set, and where; never their values."""
    settings, any_key = around.settings, False
    alone = files_alone(settings) if settings.env_file else None
    for name in around.key_names:
        try:
            key = settings.secret(name)
        except ConfigurationError as error:
            any_key = True
            yield Finding("key", False, str(error))
            continue
        found = settings.find(name)
        if key is None or found is None:
            continue
        any_key = True
        below = alone.find(name) if alone else None
        if below is not None and below[0] != key.reveal():
            cure = "remove one of the two, or make them the same"
            yield Finding("key", None, f"{name} is set in {found[2]}, and to another value in {below[2]}", cure)
        else:
            yield Finding("key", True, f"{name} is set in {found[2]}")
    if not any_key:
        cure = "without one, understudy demo and understudy sandbox still work"
        yield Finding("key", None, "no vendor's key is set", cure)


def files_alone(settings: Settings) -> Settings:
    """Read the files that are in force, and nothing else."""
    folders = ",".join(map(str, settings.trusted_folders))
    return Settings({"LLM_TRUSTED_FOLDERS": folders}, environment={})


def check_providers(around: Surroundings) -> Iterator[Finding]:
    """Whether the installed providers that are not on the route work; the others are checked with the route."""
    on_route = {stop.partition(":")[0] for stop in read_route(around.settings)}
    for one in around.found:
        about = f"provider {one.name}"
        newer = getattr(one.provider, "spec_version", 1)
        if newer > _spec_version():
            cure = f"install a newer understudy: it is in {source_of('understudy')}"
            yield Finding(about, False, f"was written for version {newer} of the contract", cure)
        if one.state == "not installed" or one.name in on_route:
            continue
        if one.state == "misconfigured":
            yield Finding(about, False, one.reason)
        elif one.state in ("broken", "ambiguous"):
            yield Finding(about, None, one.reason)
        elif one.state == "not trusted":
            yield Finding(about, True, f"is installed ({one.origin}), and not trusted: none of its code may run")
        elif one.state == "not loaded":
            yield Finding(about, True, f"is installed ({one.origin}), and not on the route: none of its code has run")
        else:
            lack = f"; {one.reason}" if one.reason else ""
            yield Finding(about, True, f"is installed ({one.origin}), and not on the route{lack}")
    if all(one.state == "not installed" for one in around.found):
        cure = f"install one: {source_of('understudy-gemini')}, say"
        yield Finding("provider", False, "no provider is installed", cure)


def _spec_version() -> int:
    return ChatProvider.spec_version


def check_route(around: Surroundings) -> Iterator[Finding]:
    """Whether every provider on the route is known and can be asked."""
    settings = around.settings
    route = read_route(settings)
    told: set[str] = set()
    if settings.get("LLM_PRIMARY_PROVIDER") is None:
        yield Finding("route", True, f"LLM_PRIMARY_PROVIDER is not set: {PRIMARY} is asked first")
    for number, stop in enumerate(route):
        part = f"fallback {number}" if number else "primary"
        one = around.known(stop.partition(":")[0].strip())
        if one is None:
            yield Finding(part, False, _explain_unknown(stop, settings))
        elif stop in route[:number]:
            yield Finding(part, None, f"{stop} is on the route twice: it is asked once", "remove one of them")
        elif one.state == "available":
            yield Finding(part, True, f"{stop} can be asked ({one.origin})")
        else:
            why = "for the same reason" if one.name in told else f"because: {one.reason}"
            told.add(one.name)
            yield Finding(part, False, f"{stop} cannot be asked, {why}")
    if len(route) == 1:
        cure = "set LLM_FALLBACK_PROVIDERS=NAME,NAME"
        yield Finding("route", None, f"no provider takes over when {route[0]} cannot go on", cure)


def _explain_unknown(stop: str, settings: Settings) -> str:
    name = stop.partition(":")[0].strip()
    near = difflib.get_close_matches(name, settings.tables, 1)
    if near:
        return f"{name} is not the name of a provider; did you mean {near[0]!r}, {settings.tables[near[0]].origin}?"
    try:
        LLMFactory.PROVIDER_REGISTRY.build(name, settings)
    except PluginError as error:
        return str(error)
    return f"{stop} is not installed"


def check_models(around: Surroundings) -> Iterator[Finding]:
    """Whether a configured model is retired, or will be, as far as its provider knows."""
    asked = [(one.name, one.model) for one in around.found if one.model]
    asked += [(name, model) for name, _, model in (stop.partition(":") for stop in read_route(around.settings))]
    for name, model in dict.fromkeys(asked):
        one = around.known(name)
        notice = notice_of(one.provider, model) if one is not None and model else ""
        if notice:
            day = _DAY.search(notice)
            ended = day is not None and date.fromisoformat(day[0]) <= date.today()
            yield Finding(f"model of {name}", False if ended else None, notice)


def notice_of(provider: object, model: str) -> str:
    """Ask a provider about a model's retirement; an empty string if nothing is known."""
    if not isinstance(provider, ChatProvider):
        return ""
    try:
        return provider.model_notice(model) or ""
    except Exception as error:
        return f"model_notice({model!r}) failed: {type(error).__name__}: {error}"


def check_policy(around: Surroundings) -> Iterator[Finding]:
    """Which policy is in force, and whether there is one of that name."""
    found = around.settings.find("LLM_POLICY")
    if found is None:
        yield Finding(
            "policy", True, f"{Policy().preset}: LLM_POLICY is not set; `understudy explain` says what it does"
        )
        return
    value, name, origin = found
    try:
        policy = Policy.named(value)
    except ValueError as error:
        yield Finding("policy", False, f"{name} in {origin}: {error}", "correct or remove it")
    else:
        yield Finding("policy", True, f"{policy.preset}: {name} in {origin}; `understudy explain` says what it does")


def check_extensions(around: Surroundings) -> Iterator[Finding]:
    """Whether the extensions that are named load."""
    for name in around.settings.names("LLM_EXTENSIONS"):
        try:
            load_extensions([name], around.settings)
        except PluginError as error:
            yield Finding(f"extension {name}", False, str(error), "correct LLM_EXTENSIONS, or remove the name")
        else:
            yield Finding(f"extension {name}", True, "loads")
