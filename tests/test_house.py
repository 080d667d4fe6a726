"""The rooms of the core keep to their plan: no circles, sizes within budgets, a public API that changes on purpose.

`python tests/house.py` prints the figures, `python tests/public_api.py` writes the list of public names.
"""

import pytest
from house import CORE, NOUNS, circles, figures, modules
from public_api import LIST, list_names

# Circles that are wanted: a response holds failures, and the failure of a stream holds the attempts before it.
WANTED = {frozenset({"errors", "response"})}
MOST_LINES_OF_A_MODULE = 450
MOST_LINES_OF_A_DOCSTRING = 10
# Sizes as they are, rounded up. They only go down: who makes one smaller writes down the smaller number.
BUDGETS = {
    "lines of code of the core, but for testing": 9_400,
    "lines of code that a plain call loads": 6_300,
    "files in a room": 14,
    "lines of code in a room": 2_000,
}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert [sorted(circle) for circle in circles() if circle not in WANTED] == []


def test_the_sizes_are_within_their_budgets(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print()
        for name, number in figures():
            print(f"{number:6,}  {name}")
    found = dict(figures())
    rooms = {module.room for module in modules().values()}
    most = {
        "files in a room": max(found[f"files in {room}"] for room in rooms - {NOUNS}),
        "lines of code in a room": max(found[f"lines of code in {room}"] for room in rooms),
    }
    over = {name: (found | most)[name] for name, budget in BUDGETS.items() if (found | most)[name] > budget}
    assert over == {}


def test_no_module_is_too_long() -> None:
    long = {name: len(module.path.read_text("utf-8").splitlines()) for name, module in modules().items()}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES_OF_A_MODULE} == {}


@pytest.mark.parametrize("room", sorted(path.name for path in CORE.iterdir() if (path / "__init__.py").exists()))
def test_a_room_says_what_it_is_for(room: str) -> None:
    text = (CORE / room / "__init__.py").read_text("utf-8")
    words = text.split('"""')[1].strip().splitlines()
    assert 2 <= len(words) <= MOST_LINES_OF_A_DOCSTRING


def test_the_public_names_are_those_of_the_list() -> None:
    assert LIST.read_text("utf-8") == list_names(), "python tests/public_api.py writes it; see to it that you mean it"
