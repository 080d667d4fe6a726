"""Masks keys in failures, log lines and other texts that people read."""

from __future__ import annotations

import re

MOST_WORDS = 10_000  # characters of a failure: records and logs keep them, and a server may send megabytes

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


def readable(text: str) -> str:
    """Mask keys in a text that came from elsewhere, and keep what can be read of it: whole characters, and not all."""
    text = conceal(text)
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # no log can write half a character
    return text if len(text) <= MOST_WORDS else f"{text[:MOST_WORDS]}..."
