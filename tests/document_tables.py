"""The tables and lists in the documents that are made from the code: `test_document_facts` writes and checks them."""

import dataclasses
import inspect
import logging
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import model_tables
from model_tables import STAND_INS, table
from refusal_tables import what_refusals_are_known_by

from understudy import (
    AllProvidersFailed,
    Capabilities,
    ChatProvider,
    Failure,
    File,
    Image,
    LLMFactory,
    Message,
    Policy,
    Request,
    Settings,
    Tool,
    ToolCall,
    ToolResult,
    errors,
)
from understudy.errors import TargetResting, Timeout, TooManyCalls, UnsupportedRequest
from understudy.testing import ScriptedProvider, VirtualClock
from understudy_sandbox import Sandbox, faults
from understudy_toolkit.conformance import FAULTS, ProviderContract

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(file.parent for file in [ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")])

# ---- failures ----


def failures() -> list[type[Failure]]:
    """Return the kinds of failure that an attempt can end in, in the order of the tree."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Failure)]
    leaves = [kind for kind in kinds if not kind.__subclasses__() and kind is not AllProvidersFailed]
    tree = errors.__doc__ or ""
    return sorted(leaves, key=lambda kind: re.search(rf"\b{kind.__name__}\b", tree).start())  # type: ignore[union-attr]  # an undrawn one is an error


class Levels(logging.Handler):
    """Remembers the levels of the log lines of one call."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.names.append(record.levelname)


def play(kind: type[Failure], policy: str, *, alone: bool = False) -> tuple[str, dict[str, Any]]:
    """Let a primary fail in one way, beside a fallback that works or alone.

    Returns:
        What happens next, and what is known of the primary's health afterwards.
    """
    clock = VirtualClock()
    able = Capabilities(keeps_deadline=True)  # so that no thread is needed
    seconds = 30 if issubclass(kind, Timeout) else 0
    primary = ScriptedProvider("primary", [kind()], capabilities=able, act=lambda request: clock.advance(seconds))
    fallback = ScriptedProvider("fallback", capabilities=able)
    longest = clock.runtime(random=lambda: 1 - 2**-53)
    others = [] if alone else [fallback]
    factory = LLMFactory(primary, others, policy=policy, runtime=longest, settings={}, extensions=[])
    factory.generate_content("Hello")
    waits = ", ".join(f"{wait:g}" for wait in clock.waits)
    steps = [f"again after {'up to ' if policy == 'eager' else ''}{waits} s"] if waits else []
    steps += ["the next target"] if fallback.requests else [] if alone else ["the call ends"]
    return ", then ".join(steps) or "-", factory.get_provider_status()["primary"]["health"]


def what_each_failure_leads_to() -> str:
    """Let a primary fail in each way, and watch."""
    body = []
    for kind in failures():
        if issubclass(kind, TargetResting | TooManyCalls):
            continue  # reasons to ask nobody, not failures of an attempt
        levels = Levels()
        logging.getLogger("understudy").addHandler(levels)
        patient, _ = play(kind, "patient")
        logging.getLogger("understudy").removeHandler(levels)
        eager, health = play(kind, "eager")
        alone, _ = play(kind, "eager", alone=True)
        noted = "a failure" if health["failures"] else "-"
        if health["state"] == "cooling":
            noted = f"{health['free_in']:g} s of rest"
        body.append([f"`{kind.__name__}`", kind().brief, patient, eager, alone, noted, levels.names[-1]])
    head = ["failure", "in the list of a failed call", "`patient`", "`eager`", "`eager`, last target"]
    return table([*head, "noted, in `eager`", "log"], *body)


# ---- the numbers ----

GROUPS = {  # by the first number of each
    "max_retries": "Retries",
    "deadline": "Time",
    "switch_on_refusal": "Answers and streams",
    "switch_on_content_blocked": "Answers and streams",
    "breaker": "The circuit breaker",
    "quota_cooldown": "Cooldowns",
    "retry_budget": "What a whole factory may do",
    "routing": "Order and hedging",
}


def the_numbers() -> str:
    """Lay the presets side by side, with what the policy's own words say of each number."""
    words = inspect.cleandoc(Policy.__doc__ or "").partition("Args:\n")[2].partition("\nRaises:")[0]
    told = dict(re.findall(r"^    (\w+): (.+?)(?=^    \w+: |\Z)", words, re.MULTILINE | re.DOTALL))
    patient, eager = Policy.patient(), Policy.eager()
    assert list(told) == [field.name for field in dataclasses.fields(Policy)]
    groups: list[tuple[str, list[list[str]]]] = []
    for name, meaning in told.items():
        if name in GROUPS:
            groups.append((GROUPS[name], []))
        one, other = (shown(getattr(preset, name)) for preset in (patient, eager))
        groups[-1][1].append([f"`{name}`", one, other if other != one else "", in_code(meaning)])
    head = ["number", "`patient`", "`eager`, where it differs", "what it is"]
    return "\n".join(f"**{title}**\n\n{table(head, *body)}" for title, body in groups)


def shown(value: object) -> str:
    """Write a number as people do."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else f'"{value}"' if isinstance(value, str) else f"{value:g}"


def in_code(text: str) -> str:
    """Set the names of the policy's numbers in the typeface of code."""
    text = " ".join(text.split())
    names = "|".join(field.name for field in dataclasses.fields(Policy) if "_" in field.name)
    text = re.sub(rf"(?<![`\w])({names}|min\([^)]*\)|weighted\(\{{[^}}]*\}}\))(?![`\w])", r"`\1`", text)
    return text[0].upper() + text[1:]


# ---- what the vendors' plugins do ----


@contextmanager
def on_stage() -> Iterator[tuple[Sandbox, dict[str, ChatProvider]]]:
    """Start the stand-ins, and make every provider of ours that has one."""
    with Sandbox() as sandbox:
        names = sorted([*sandbox.vendors, *STAND_INS])
        with LLMFactory(names[0], names[1:], settings=sandbox.environment(), extensions=[]) as factory:
            yield sandbox, {target.label: provider for target, provider in factory.route}


def what_the_vendors_replies_become() -> str:
    """Let the stand-ins fail in each way, and see which failure the vendors' plugins make of it."""
    body = []
    with on_stage() as (sandbox, providers):
        for kind in [*faults.FAILURES, "blocked", "empty", "html_page", "reset"]:
            found = []
            for name, provider in providers.items():
                sandbox[STAND_INS.get(name, name)].next(faults.ALL[kind]())
                failure = provider.generate_content("Hello").failure
                found.append((str((failure and failure.status) or "-"), f"`{type(failure).__name__}`"))
            usual = Counter(failure for _, failure in found).most_common(1)[0][0]
            cells = [status if failure == usual else f"{status}, {failure}" for status, failure in found]
            cells = ["never" if "NoneType" in cell else cell for cell in cells]
            body.append([kind, usual, *cells])
    return table(["fault", "failure", *providers], *body)


TOOL = Tool(name="look", description="Looks.", parameters={"type": "object", "properties": {"at": {"type": "string"}}})
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
PICTURE = Image(data=b"\x89PNG...", media_type="image/png")
HELLO = (Message.user("Hello"),)
LOOKED = (*HELLO, Message("assistant", (ToolCall(id="call_1", name="look", arguments={"at": "it"}),)))
REQUESTS = {
    "temperature 0.7": Request(messages=HELLO, temperature=0.7),
    "temperature 1.5": Request(messages=HELLO, temperature=1.5),
    "a stop sequence": Request(messages=HELLO, stop=("END",)),
    "an image, as bytes": Request(messages=(Message.user("This?", PICTURE),)),
    "an image, by URL": Request(messages=(Message.user("This?", Image(url="https://example.com/cat.png")),)),
    "a PDF": Request(messages=(Message.user("This?", File(data=b"%PDF-1.7...", media_type="application/pdf")),)),
    "tools": Request(messages=HELLO, tools=(TOOL,)),
    "a tool that must be called": Request(messages=HELLO, tools=(TOOL,), tool_choice="required"),
    "the result of a tool": Request(
        messages=(*LOOKED, Message.tool(ToolResult(call_id="call_1", name="look", content="grey"))), tools=(TOOL,)
    ),
    "an image as a tool's result": Request(
        messages=(*LOOKED, Message.tool(ToolResult(call_id="call_1", name="look", content=(PICTURE,)))), tools=(TOOL,)
    ),
    "a JSON schema": Request(messages=HELLO, output_schema=SCHEMA),
    "a JSON schema, and tools": Request(messages=HELLO, output_schema=SCHEMA, tools=(TOOL,)),
}


def what_the_default_models_take() -> str:
    """Ask for everything that a request can hold, and see what is taken, left out, or left to another provider."""
    with on_stage() as (_, providers):
        rows = [[what, *(fate(provider, asked) for provider in providers.values())] for what, asked in REQUESTS.items()]
        return table(["", *providers], *rows)


def fate(provider: ChatProvider, asked: Request) -> str:
    """Return whether a request is taken, in the words of the table."""
    if provider.capabilities.lacking(asked) is not None:
        return "-"
    try:
        warnings = [warning.message for warning in provider.generate(asked).warnings]
    except UnsupportedRequest:
        return "-"
    if not warnings:
        return "yes"
    (warning,) = warnings
    return f"{found[1]} at most" if (found := re.search(r"became ([\d.]+)", warning)) else "left out"


class WatchedSettings(Settings):
    """Settings with nothing in them, which remember what a provider looks for, and what it cannot do without."""

    def __init__(self) -> None:
        self.looked_for: list[str] = []
        self.needed: list[str] = []  # shared with its views, as the other
        super().__init__(environment={}, directory="/")
        self.looked_for.clear()  # of what it looks for itself

    def find(self, *names: str) -> tuple[str, str, str] | None:
        self.looked_for += names
        return super().find(*names)

    def missing(self, *names: str) -> str:
        self.needed[:] = names
        return super().missing(*names)


def our_providers() -> Iterator[tuple[str, ChatProvider, WatchedSettings]]:
    """Make every installed provider of ours with settings that are empty and watched."""
    registry = LLMFactory.PROVIDER_REGISTRY
    for found in registry.describe():
        if found.is_ours:
            settings = WatchedSettings()
            provider = registry.build(found.name, settings)
            assert isinstance(provider, ChatProvider)
            yield found.name, provider, settings


def the_packages() -> str:
    """Say of each package what it brings, in its own words."""
    body = []
    for package in PACKAGES:
        project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
        names = [f"`{name}`" for name in sorted(project.get("entry-points", {}).get("understudy.providers", {}))]
        link = f"[`{project['name']}`]({package.relative_to(ROOT).as_posix()}/README.md)"
        body.append([link, ", ".join(names), project["description"].rstrip(".")])
    return table(["package", "providers", "what it is"], *body)


def the_providers() -> str:
    """Say of each provider who is asked by default, and what must be set."""
    body = []
    for name, provider, settings in our_providers():
        model = getattr(provider, "default_model", None)
        needed = " or ".join(f"`{one}`" for one in settings.needed) or "nothing"
        body.append([f"`{name}`", f"`{model}`" if model else "", needed])
    return table(["provider", "model, unless you name one", "needs"], *body)


def what_the_providers_can_do() -> str:
    """Say of each provider what it declares."""
    names = [field.name for field in dataclasses.fields(Capabilities) if field.name != "conversation"]
    body = [
        [f"`{name}`", *("yes" if getattr(provider.capabilities, flag) else "-" for flag in names)]
        for name, provider, _ in our_providers()
    ]
    return table(["", *(f"`{name}`" for name in names)], *body)


def in_words(name: str) -> str:
    """Read a test's name as a sentence."""
    return name.removeprefix("test_").replace("_", " ").replace("vendors ", "vendor's ")


def what_the_contract_checks() -> str:
    """List the rules of the contract, each with the capability that it is for."""
    capability = re.compile(r'self\.(?:needs|_attachment_is_sent)\(.*?provider, "(\w+)"')
    lines = []
    for rules in reversed(ProviderContract.__bases__):  # in the order in which pytest runs them
        lines.append(f"**{(rules.__doc__ or '').strip().rstrip('.')}**\n\n")
        for name, rule in vars(rules).items():
            if name.startswith("test_"):
                flags = " and ".join(f"`{flag}`" for flag in capability.findall(inspect.getsource(rule)))
                lines.append(f"* {in_words(name)}{f' ({flags})' if flags else ''}\n")
        lines.append("\n")
    return "".join(lines[:-1])


def what_the_vendor_does_in_the_contract() -> str:
    """List the faults of the contract, with the failures that may come of them."""
    body = []
    for kind, fault in FAULTS.items():
        whole, streamed = (" or ".join(f"`{one.__name__}`" for one in ones) for ones in (fault.whole, fault.streamed))
        body.append([f"`{kind}`", fault.says, whole if whole == streamed else f"{whole}; in a stream {streamed}"])
    return table(["kind", "what the vendor does", "failure"], *body)


TABLES: dict[str, Callable[[], str]] = {
    "what each failure leads to": what_each_failure_leads_to,
    "the numbers": the_numbers,
    "what the vendors' replies become": what_the_vendors_replies_become,
    "what refusals are known by": what_refusals_are_known_by,
    "the packages": the_packages,
    "the providers": the_providers,
    "what the providers can do": what_the_providers_can_do,
    "what the default models take": what_the_default_models_take,
    "what the contract checks": what_the_contract_checks,
    "what the vendor does in the contract": what_the_vendor_does_in_the_contract,
    **model_tables.TABLES,
}
