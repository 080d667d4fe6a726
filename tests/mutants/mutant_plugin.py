"""A plugin of pytest: the module that the environment names, if any, is loaded with one mistake in it."""

import os
from importlib.machinery import SourceFileLoader
from typing import Any

from mutants.mutation import Mutation

_told = os.environ["UNDERSTUDY_MUTATION"]
_mutation = Mutation.load(_told) if _told else None
_get_code = SourceFileLoader.get_code


def get_code(loader: SourceFileLoader, fullname: str) -> Any:
    """Compile the module that is meant with the mistake, and every other one as it is."""
    if _mutation is None or fullname != _mutation.module:
        return _get_code(loader, fullname)
    source = loader.get_source(fullname)
    assert source is not None
    return compile(_mutation.applied_to(source), loader.path, "exec")


SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]
