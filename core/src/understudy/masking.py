"""Masks keys in failures, log lines and other texts that people read."""

from __future__ import annotations

import re

_secrets: set[str] = set()
_KEY_SHAPES = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{8,}|AIza[A-Za-z0-9_-]{10,}|AQ\.[A-Za-z0-9_-]{10,}|ya29\.[A-Za-z0-9_.-]+)"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^/?#@\s]+(?=@)"  # the name and the password in an address, however short
)


def register_secret(value: str) -> None:
    """From now on, mask this value in every failure, log line and error text."""
    if len(value) >= 6:  # shorter values would mask ordinary words
        _secrets.add(value)


def conceal(text: str) -> str:
    """Mask keys in a text: those that were read from the settings, and whatever looks like a key."""
    for secret in sorted(_secrets, key=len, reverse=True):  # one key may be the beginning of another
        if secret in text:
            text = text.replace(secret, "***")
    return _KEY_SHAPES.sub("***", text)
