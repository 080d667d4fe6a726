"""What models at their addresses have refused, kept while the process lives, so that the next request is right at once.

A provider keeps how a request had to be adapted, in words of its own; what they mean, and how long a refusal holds, it
knows itself. Single steps on the dictionaries are safe in threads.
"""

from __future__ import annotations

__all__ = ["MOST_MODELS", "forget", "remember", "remembered"]

MOST_MODELS = 1000  # with a refusal: more would come of made-up names only; the oldest are forgotten first
_MOST_EACH = 64  # refusals of one model: a server that words each anew is not listened to for ever

_known: dict[tuple[str, str, str], dict[str, None]] = {}


def remember(address: str, model: str, adaptation: str, about: str = "") -> None:
    """Keep that a model has to be asked in another way.

    Args:
        address: where it was asked.
        model: its name.
        adaptation: in which way.
        about: what of a request that concerns; "" for every request.
    """
    place = (address, model, about)
    while len(_known) >= MOST_MODELS and place not in _known:
        _known.pop(next(iter(_known)), None)
    kept = _known.setdefault(place, {})
    if len(kept) < _MOST_EACH:
        kept[adaptation] = None


def remembered(address: str, model: str, about: str = "") -> tuple[str, ...]:
    """Return how a model has to be asked, as far as that is known, in the order in which it was learnt."""
    return tuple(_known.get((address, model, about), ()))


def forget() -> None:
    """Forget everything, as a new process does: what is refused today may be taken tomorrow."""
    _known.clear()
