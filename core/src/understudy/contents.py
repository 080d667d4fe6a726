"""Tables of contents: a package's public names, each imported when it is first used."""

TYPE_CHECKING = False  # type checkers take it for True; typing's own costs more to import than all the rest here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def find_names(package: "str", contents: "Mapping[str, str]") -> "Callable[[str], object]":
    """Return a package's `__getattr__`.

    Args:
        package: its name.
        contents: the names, separated by spaces, by the core module that holds them.
    """
    homes = {name: module for module, names in contents.items() for name in names.split()}

    def find(name: str) -> object:
        module = homes.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import sys
        from importlib import import_module

        value: object = getattr(import_module(f"understudy.{module}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
