"""What is known of a vendor's models, as rows with their sources: providers make them from their own tables."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["About", "ModelRule"]

About = Literal[
    "default model",
    "API version",
    "ending",
    "sampling",
    "thinking",
    "room to think",
    "forced tools",
    "prefill",
    "stop",
    "region",
    "limit",
    "price",
    "first answer",
]


class ModelRule(NamedTuple):
    """One rule of a vendor's.

    Args:
        about: what it is about.
        models: for which models it holds, as people write them.
        rule: what the vendor does, and what is done about it here, in a sentence.
        source: where it is said: a page's address, or a file of an SDK with its version.
        read: the day on which it was read there, as YYYY-MM-DD.
    """

    about: About
    models: str
    rule: str
    source: str
    read: str
