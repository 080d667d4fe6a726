"""Make and copy frozen dataclasses quickly, for what every call makes: their constructors take four times as long.

A constructor sets each field through `object.__setattr__`. Here the fields are set on a mutable twin, an object of
another class with the same slots, whose class is then changed to the frozen one. The checks of `__post_init__` do not
run: use it only for values that are known to pass them.

There is also a mapping with nothing in it, as the default of fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_new = object.__new__
_twins: dict[type, type] = {}
_copiers: dict[type, Callable[[Any], Any]] = {}


class _Nothing(Mapping[str, Any]):
    """An empty mapping that nobody can fill, and that can be pickled and copied, unlike a mappingproxy."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:  # often asked, and quicker than Mapping's own
        return default

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING: Mapping[str, Any] = _Nothing()


def unfrozen(kind: type) -> Any:
    """Return an instance of a frozen dataclass with slots, without any field set; fields can be set until `freeze`."""
    return _new(_twins.get(kind) or _twin(kind))


def thawed(instance: Any) -> Any:
    """Return a copy of a frozen dataclass with slots, whose fields can be set until `freeze`."""
    kind = type(instance)
    return (_copiers.get(kind) or _copier(kind))(instance)


def freeze(instance: Any, kind: type[T]) -> T:
    """Turn what `unfrozen` or `thawed` returned into an instance of its own class; all fields must be set."""
    instance.__class__ = kind
    return instance  # type: ignore[no-any-return]  # it is a `kind` now


def copy_with(instance: T, **changes: Any) -> T:
    """Return a copy of a frozen dataclass with slots, with some fields changed."""
    copy = thawed(instance)
    for name, value in changes.items():
        setattr(copy, name, value)
    return freeze(copy, type(instance))


def _twin(kind: type) -> type:
    twin = _twins[kind] = type(kind.__name__, (), {"__slots__": kind.__slots__})  # type: ignore[attr-defined]  # as below
    return twin


def _copier(kind: type) -> Callable[[Any], Any]:
    """Generate a function that copies instances of a class field by field, without a loop, as dataclasses does."""
    names = kind.__slots__  # type: ignore[attr-defined]  # a dataclass with slots has them
    fields = "".join(f"\n copy.{name} = old.{name}" for name in names)
    found: dict[str, Any] = {"new": _new, "twin": _twins.get(kind) or _twin(kind)}
    exec(f"def copier(old):\n copy = new(twin){fields}\n return copy", found)
    copier: Callable[[Any], Any] = found["copier"]
    _copiers[kind] = copier
    return copier
