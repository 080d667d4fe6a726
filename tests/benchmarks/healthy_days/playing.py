"""What is played: the rows that the arguments choose, on all cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from report import HEALTHY, RECIPES, Results
from simulation.healthy import recipes
from simulation.healthy.measures import Row, measure
from simulation.healthy.worlds import DAYS, SETUPS, WORLDS, Setup, World, play

NAMES = (*WORLDS, *DAYS, *SETUPS, RECIPES)  # that arguments may choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of a table.

    Args:
        table: the world's name, or the recipe's.
        day: which day of that world.
        world: where it is played.
        setup: by which client.
    """

    table: str
    day: str
    world: World
    setup: Setup

    @property
    def key(self) -> tuple[str, str, str]:
        """Which row it is."""
        return self.table, self.day, self.setup.name


def chosen(words: Sequence[str]) -> list[Cell]:
    """Return the rows that some names choose: those of no kind choose all of their kind."""
    worlds, days, setups = ([name for name in names if name in words] or names for names in (WORLDS, DAYS, SETUPS))
    cells = [
        Cell(table=world.name, day=day, world=world, setup=SETUPS[setup])
        for world in map(WORLDS.__getitem__, worlds)
        for day in days
        for setup in setups
        if day in (HEALTHY, *world.faults)
    ]
    programs = [
        Cell(table=recipe.name, day=RECIPES, world=recipe.world, setup=setup)
        for recipe in recipes.RECIPES
        for setup in (recipe.naive, recipe.setup)
    ]
    if list(words) == [RECIPES]:
        return programs
    return [*cells, *programs] if not words or RECIPES in words else cells


def play_all(cells: Sequence[Cell], seeds: Sequence[int]) -> Results:
    """Play the rows; they come out the same, however many cores there are."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        largest_first = sorted(cells, key=lambda cell: -cell.world.noon * cell.world.length)
        rows = {cell.key: pool.submit(_row, cell, seeds) for cell in largest_first}
        results = {}
        for cell in cells:
            results[cell.key] = rows[cell.key].result()
            print(".", end="", file=sys.stderr, flush=True)
    return results


def _row(cell: Cell, seeds: Sequence[int]) -> Row:
    day = cell.world.day("" if cell.day in (HEALTHY, RECIPES) else cell.day)
    return measure([play(cell.world, day, cell.setup, seed) for seed in seeds])
