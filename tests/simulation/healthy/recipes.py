"""The programs of docs/recipes.md, each in a world that it is meant for, and a naive client that does the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulation.healthy.kinds import WEB
from simulation.healthy.worlds import WORLDS, Setup, World
from understudy import Policy
from understudy.limits import Limits

_CHAT, _THINKING = WORLDS["chat-stream"], WORLDS["thinking-stream"]
_WEB = World(name="web", primary=WEB, backup=WEB, length=1800.0, max_tokens=300)
_NIGHT = World(name="night", night=0.5, noon=0.7, length=3600.0, max_tokens=500, allowed=1.0)

_CHAT_POLICY = Policy.eager(stream_recovery="restart")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One program.

    Args:
        world: in which it is played.
        setup: what the page says.
        naive: the client without a factory beside it: with the same deadline, where it has one, and a fallback, too.
        small: seconds of a healthy day that are enough to see whether it does harm.
    """

    world: World
    setup: Setup
    naive: Setup
    small: float

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.setup.name


def recipe(world: World, setup: Setup, small: float) -> Recipe:
    """Make a recipe, and the naive client for it."""
    deadline = {name: value for name, value in setup.options.items() if name == "deadline"}
    naive = Setup(name="naive", fallback=setup.fallback, options=deadline)
    return Recipe(world=world, setup=setup, naive=naive, small=small)


RECIPES = (
    recipe(_WEB, Setup(name="a web request with ten seconds", policy=Policy.eager(), options={"deadline": 10}), 130.0),
    recipe(
        _NIGHT,
        Setup(
            name="a nightly batch",
            policy=Policy.patient(),
            fallback=False,
            limits={"primary": Limits(requests_per_minute=50)},
        ),
        600.0,
    ),
    recipe(_CHAT, Setup(name="a chat", policy=_CHAT_POLICY), 130.0),
    recipe(replace(_THINKING, length=3600.0), Setup(name="a chat, thinking models", policy=_CHAT_POLICY), 450.0),
)
