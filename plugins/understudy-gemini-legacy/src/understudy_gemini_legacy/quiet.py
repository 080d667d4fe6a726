"""What google-generativeai says when it is imported, and the user can do nothing about: kept off the screen."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

# What google-api-core says of Python 3.11 and older when it is imported, for example "You are using a Python version
# (3.11.7) which Google will stop supporting ...".
_NOT_FOR_USERS = (r"You are using a (?:non-supported )?Python version", r"google\.api_core\.")


@contextmanager
def unheard() -> Iterator[None]:
    """Keep off the user's screen what the SDK says when it is imported; the log has it in a sentence (sdk.py).

    `warnings.catch_warnings` would silence, and then forget, what other threads do with their warnings meanwhile. One
    entry that fits nothing else is put in and taken out.
    """
    message, module = _NOT_FOR_USERS
    warnings.filterwarnings("ignore", message, FutureWarning, module)
    try:
        yield
    finally:
        entry = ("ignore", re.compile(message, re.IGNORECASE), FutureWarning, re.compile(module), 0)
        with suppress(ValueError):  # another thread was quicker, or has put back filters of its own
            cast("list[object]", warnings.filters).remove(entry)
