"""What the documents say of the code is the code's own: tables, names, links, and what is left unchecked.

`python tests/test_document_facts.py` writes the tables between `<!-- begin: ... -->` and `<!-- end -->` anew.
"""

import ast
import inspect
import logging
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from understudy import AllProvidersFailed, Failure, LLMFactory, errors
from understudy.testing import ScriptedProvider, no_waiting
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


def what_the_vendors_replies_become() -> str:
    """Let the stand-ins fail in each way, and see which failure the vendors' plugins make of it."""
    kinds = [*faults.FAILURES, "blocked", "empty", "html_page", "reset"]
    with Sandbox() as sandbox:
        vendors = list(sandbox.vendors)
        heads = " | ".join(f"{name}: status, failure" for name in vendors)
        rows = [f"| fault | {heads} |", "|---|" + "---|" * len(vendors)]
        with LLMFactory(vendors[0], vendors[1:], settings=sandbox.environment(), extensions=[]) as factory:
            providers = {target.label: provider for target, provider in factory.route}
            for kind in kinds:
                cells = []
                for name in vendors:
                    sandbox[name].next(faults.ALL[kind]())
                    failure = providers[name].generate_content("Hello").failure
                    cells.append(f"{(failure and failure.status) or '-'}, `{type(failure).__name__}`")
                rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "what each failure leads to": what_each_failure_leads_to,
    "what the vendors' replies become": what_the_vendors_replies_become,
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


def test_every_package_is_in_the_readme_with_its_providers_and_no_other() -> None:
    told = {quoted(row[0])[0]: quoted(row[1]) for row in rows("README.md", "Packages")[1:]}
    there = {}
    for package in PACKAGES:
        project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
        there[project["name"]] = list(project.get("entry-points", {}).get("understudy.providers", {}))
    assert told == there


def variables() -> Iterator[str]:
    """Yield every setting that the packages read: the names given to a Settings' methods."""
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
