"""What the documents say of the code is the code's own: tables, names, links, and what is left unchecked.

`python tests/test_document_facts.py` writes the tables between `<!-- begin: ... -->` and `<!-- end -->`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from breaker_diagram import PICTURE as BREAKER
from breaker_diagram import draw_breaker
from document_tables import PACKAGES, ROOT, TABLES, failures, our_providers
from rooms_diagram import PICTURE as ROOMS
from rooms_diagram import draw_rooms

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("core/*.md"), *ROOT.glob("plugins/*/*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
GENERATED = re.compile(r"<!-- begin: (.+?) -->\n(.*?)<!-- end -->", re.DOTALL)
WRITTEN = re.compile(r"<!-- written by [\w ]+: (begin|end) -->")  # by a command that measures, which no test runs
VARIABLE = re.compile(r"[A-Z]+(_[A-Z]+)+")
# Methods of Settings, and the toolkit's function that calls them.
SETTINGS = (
    "api_key",
    "base_url",
    "find",
    "find_address",
    "get",
    "missing",
    "model",
    "names",
    "read_account",
    "secret",
    "url",
)
MOST_NOT_RUN = 0  # blocks that no test runs, in all documents together

# ---- tables ----


def write_tables() -> None:
    """Write every generated table and picture."""
    for page in PAGES:
        text = page.read_text("utf-8")
        made = GENERATED.sub(lambda found: f"<!-- begin: {found[1]} -->\n{TABLES[found[1]]()}<!-- end -->", text)
        if made != text:
            page.write_text(made, encoding="utf-8")
            print("wrote", page.relative_to(ROOT))
    for picture, draw in ((BREAKER, draw_breaker), (ROOMS, draw_rooms)):
        if not picture.exists() or draw() != picture.read_text("utf-8"):
            picture.write_text(draw(), encoding="utf-8")
            print("wrote", picture.relative_to(ROOT))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_code_does(name: str) -> None:
    found = [table for page in PAGES for label, table in GENERATED.findall(page.read_text("utf-8")) if label == name]
    assert len(found) == 1, "expected the table once; python tests/test_document_facts.py writes it"
    assert found[0] == TABLES[name]()


def test_the_drawn_breaker_is_the_code_s() -> None:
    assert BREAKER.read_text("utf-8") == draw_breaker(), "python tests/test_document_facts.py draws it"


def test_the_drawn_rooms_are_the_code_s() -> None:
    assert ROOMS.read_text("utf-8") == draw_rooms(), "python tests/test_document_facts.py draws them"


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
            method = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and method in SETTINGS:
                for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    inner = argument.value if isinstance(argument, ast.Starred) else argument
                    inner = lists.get(inner.id, inner) if isinstance(inner, ast.Name) else inner
                    texts = [leaf.value for leaf in ast.walk(inner) if isinstance(leaf, ast.Constant)]
                    yield from (text for text in texts if VARIABLE.fullmatch(str(text)))


def test_every_variable_that_is_read_is_in_the_configuration_page_and_no_other() -> None:
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    named = {name for line in text.splitlines() if line.startswith("| `") for name in quoted(line.split("|")[1])}
    named = {name for name in named if VARIABLE.fullmatch(name)}
    assert named == set(variables())


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
    measured = [comment for comment in comments if WRITTEN.fullmatch(comment)]
    assert [comment.replace(" begin ", " end ") for comment in measured[::2]] == measured[1::2]
    others = [comment for comment in comments if comment not in [*left_alone, *measured, "<!-- end -->"]]
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
