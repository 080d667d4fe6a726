"""What the documents say of the code is the code's own: tables, names, links, and what is left unchecked.

`python tests/test_document_facts.py` writes the tables between `<!-- begin: ... -->` and `<!-- end -->` anew.
"""

import ast
import dataclasses
import inspect
import logging
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from understudy import (
    AllProvidersFailed,
    Capabilities,
    ChatProvider,
    Failure,
    File,
    Image,
    LLMFactory,
    Message,
    Request,
    Settings,
    Tool,
    ToolCall,
    ToolResult,
    UnsupportedRequest,
    errors,
)
from understudy.testing import FAULTS, ProviderContract, ScriptedProvider, no_waiting
from understudy_sandbox import Sandbox, faults

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("core/*.md"), *ROOT.glob("plugins/*/*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
PACKAGES = sorted(file.parent for file in [ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")])
GENERATED = re.compile(r"<!-- begin: (.+?) -->\n(.*?)<!-- end -->", re.DOTALL)
VARIABLE = re.compile(r"[A-Z]+(_[A-Z]+)+")
SETTINGS = ("api_key", "base_url", "find", "get", "missing", "model", "names", "secret", "url")  # methods of Settings
MOST_NOT_RUN = 0  # blocks that no test runs, in all documents together

# ---- tables that are made from the code ----


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


def what_each_failure_leads_to() -> str:
    """Let a primary fail in each way, and watch."""
    rows = [
        "| failure | in the list of a failed call | the same provider again | then | log |",
        "|---|---|---|---|---|",
    ]
    for kind in failures():
        primary, fallback = ScriptedProvider("primary", [kind()]), ScriptedProvider("fallback")
        levels = Levels()
        logging.getLogger("understudy").addHandler(levels)
        with no_waiting() as waits:
            LLMFactory(primary, [fallback], settings={}, extensions=[]).generate_content("Hello")
        logging.getLogger("understudy").removeHandler(levels)
        seconds = ", ".join(f"{wait:g}" for wait in waits)
        again = f"{len(waits)} times, after {seconds} s" if waits else "no"
        then = "the next provider" if fallback.requests else "the call ends"
        rows.append(f"| `{kind.__name__}` | {kind().brief} | {again} | {then} | {levels.names[-1]} |")
    return "\n".join(rows) + "\n"


# Who stands in for the vendor of each provider: one of that name, but for these.
STAND_INS = {"gemini-legacy": "gemini"}


@contextmanager
def on_stage() -> Iterator[tuple[Sandbox, dict[str, ChatProvider]]]:
    """Start the stand-ins, and make every provider of ours that has one."""
    with Sandbox() as sandbox:
        names = sorted([*sandbox.vendors, *STAND_INS])
        with LLMFactory(names[0], names[1:], settings=sandbox.environment(), extensions=[]) as factory:
            yield sandbox, {target.label: provider for target, provider in factory.route}


def table(head: Iterable[str], *body: Iterable[str]) -> str:
    """Write a table."""
    lines = ["".join(f"| {cell} " if cell else "| " for cell in line) + "|\n" for line in (head, *body)]
    return "".join([lines[0], "|---" * lines[0].count("| ") + "|\n", *lines[1:]])


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
    "a stop text": Request(messages=HELLO, stop=("END",)),
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
    """Return what becomes of a request."""
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
        super().__init__(environment={}, directory="/")
        self.looked_for: list[str] = []
        self.needed: tuple[str, ...] = ()

    def find(self, *names: str) -> tuple[str, str, str] | None:
        self.looked_for += names
        return super().find(*names)

    def missing(self, *names: str) -> str:
        self.needed = names
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
    "what the vendors' replies become": what_the_vendors_replies_become,
    "the packages": the_packages,
    "the providers": the_providers,
    "what the providers can do": what_the_providers_can_do,
    "what the default models take": what_the_default_models_take,
    "what the contract checks": what_the_contract_checks,
    "what the vendor does in the contract": what_the_vendor_does_in_the_contract,
}


def write_tables() -> None:
    """Write every generated table anew."""
    for page in PAGES:
        text = page.read_text("utf-8")
        made = GENERATED.sub(lambda found: f"<!-- begin: {found[1]} -->\n{TABLES[found[1]]()}<!-- end -->", text)
        if made != text:
            page.write_text(made, encoding="utf-8")
            print("wrote", page.relative_to(ROOT))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_code_does(name: str) -> None:
    found = [table for page in PAGES for label, table in GENERATED.findall(page.read_text("utf-8")) if label == name]
    assert len(found) == 1, "expected the table once; python tests/test_document_facts.py writes it"
    assert found[0] == TABLES[name]()


# ---- names ----


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading of a page, up to the next heading."""
    text = (ROOT / page).read_text("utf-8")
    section = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_failure_has_its_advice() -> None:
    advised = [quoted(row[0])[0] for row in rows("docs/errors.md", "What to do")[1:]]
    assert advised == [kind.__name__ for kind in failures()] + ["AllProvidersFailed"]


def variables() -> Iterator[str]:
    """Yield every setting that the packages read: what providers look for, and what a Settings' methods are given."""
    for _, _, settings in our_providers():
        yield from settings.looked_for
    for module in [path for package in PACKAGES for path in package.glob("src/**/*.py")]:
        tree = ast.parse(module.read_text("utf-8"))
        lists = {
            node.targets[0].id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            method = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if method in SETTINGS:
                for argument in node.args:
                    inner = argument.value if isinstance(argument, ast.Starred) else argument
                    inner = lists.get(inner.id, inner) if isinstance(inner, ast.Name) else inner
                    texts = [leaf.value for leaf in ast.walk(inner) if isinstance(leaf, ast.Constant)]
                    yield from (text for text in texts if VARIABLE.fullmatch(str(text)))


def test_every_variable_that_is_read_is_in_the_configuration_page_and_no_other() -> None:
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    told = {name for line in text.splitlines() if line.startswith("| `") for name in quoted(line.split("|")[1])}
    told = {name for name in told if VARIABLE.fullmatch(name)}
    assert told == set(variables())


def test_the_example_is_what_its_page_ends_with() -> None:
    text = (ROOT / "docs/writing-a-provider.md").read_text("utf-8")
    shown = dict(re.findall(r"^```\w+ file=(understudy-parrot/\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    home = ROOT / "docs/examples"
    files = [file for file in home.glob("understudy-parrot/**/*") if file.suffix in (".py", ".toml")]
    assert shown == {file.relative_to(home).as_posix(): file.read_text("utf-8") for file in files}


# ---- links and comments ----


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_stands_between_fences_where_it_is_run(page: Path) -> None:
    assert re.findall(r"^\n {4,}\S.*$", prose(page), flags=re.MULTILINE) == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose(page))
        todo += [(page.parent / link).resolve() for link in links if not link.startswith("https://")]
    assert set(PAGES) - reached == set()


def test_hidden_comments_are_of_the_kinds_that_are_checked() -> None:
    comments = [comment for page in PAGES for comment in re.findall(r"<!--.*?-->", page.read_text("utf-8"), re.DOTALL)]
    left_alone = [comment for comment in comments if comment.startswith("<!-- not run: ")]
    assert len(left_alone) == MOST_NOT_RUN
    others = [comment for comment in comments if comment not in left_alone and comment != "<!-- end -->"]
    assert sorted(others) == sorted(f"<!-- begin: {name} -->" for name in TABLES)


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_three_parts_and_fits_on_a_page(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequence"]
    assert len(text.splitlines()) <= 50


def test_decisions_are_numbered_without_a_gap_and_listed_by_their_titles() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    listed = re.findall(r"^\* \[(.+)\]\((.+)\)$", (ROOT / "docs/decisions/index.md").read_text("utf-8"), re.MULTILINE)
    titles = [page.read_text("utf-8").splitlines()[0].removeprefix("# ") for page in DECISIONS]
    assert listed == [(title, page.name) for title, page in zip(titles, DECISIONS, strict=True)]


if __name__ == "__main__":
    sys.exit(write_tables())
