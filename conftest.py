"""For the tests of all packages: what is the same wherever they run."""

from __future__ import annotations

import gc


def pytest_sessionfinish() -> None:
    """Look for garbage once more, and then leave it: in all the SDKs each further look takes a quarter of a second."""
    gc.collect()
    gc.freeze()
