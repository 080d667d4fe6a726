"""Which model is in the server's memory, as far as its answers show: the server itself is not asked here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from understudy_ollama.models import KEPT, LOAD_SETTINGS, full_name

# Seconds to allow for loading: for so long the server itself lets a load stand still before it gives it up
# (OLLAMA_LOAD_TIMEOUT, 5 minutes: https://github.com/ollama/ollama/issues/6031, and as a time without progress since
# https://github.com/ollama/ollama/pull/16427). 50 to 60 s were seen on a CPU
# (https://github.com/mrviduus/textstack/pull/234), more than 3 minutes at https://github.com/ollama/ollama/pull/3566.
# Read 2026-11-30.
LOADING = 300.0
# Seconds before a model's time is over from which on it counts as gone: the server counts from the end of its answer,
# which is heard of a little later, and the next request is on its way for a while.
MARGIN = 10.0

# A duration as Go writes it, such as "10m", "1h30m" or "-1s" (ollama, api/types.go, Duration).
_DURATION = re.compile(r"(-?)((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS: Mapping[str, float] = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Memory:
    """Remembers which model answered last, and until when the server keeps it, and which models think.

    The last one alone: on most machines the next model replaces it, and with other settings it is loaded again.

    Args:
        clock: gives seconds, monotonic.

    Attributes:
        thinking: full names of models that were seen, or said, to think.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: tuple[str, float] | None = None  # the model with its settings, and until when
        self.thinking: set[str] = set()

    def heard(self, model: str, options: Mapping[str, Any], thought: bool) -> None:
        """Record that a model has answered, and whether it has thought."""
        self.answered(model, options)
        if thought:
            self.thinking.add(full_name(model))

    def answered(self, model: str, options: Mapping[str, Any]) -> None:
        """Record that a model has answered, with the settings among the options that a caller has for Ollama."""
        kept = seconds_of(options.get("keep_alive", KEPT))
        self._kept = (_key(model, options), self._clock() + kept - MARGIN)

    def is_gone(self) -> None:
        """Record that the server has said that a model is not in memory."""
        self._kept = None

    def loading(self, model: str, options: Mapping[str, Any]) -> float:
        """Return how many seconds to allow for loading a model; 0.0 where it is in memory, as far as is known."""
        kept = self._kept
        known = kept is not None and kept[0] == _key(model, options) and self._clock() < kept[1]
        return 0.0 if known else LOADING


def seconds_of(keep_alive: Any) -> float:
    """Return for how long a model is kept that is asked with this `keep_alive`: infinity where it is negative."""
    if isinstance(keep_alive, bool) or keep_alive is None:
        return KEPT
    if isinstance(keep_alive, int | float):
        return float(keep_alive) if keep_alive >= 0 else float("inf")
    found = _DURATION.fullmatch(str(keep_alive).strip())
    if found is None:
        return 0.0 if str(keep_alive).strip() == "0" else KEPT
    if found[1]:
        return float("inf")
    return sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(found[2]))


def _key(model: str, options: Mapping[str, Any]) -> str:
    settings = {name: options[name] for name in LOAD_SETTINGS if name in options}
    return repr((full_name(model), bool(options.get("shift", False)), sorted(settings.items())))
