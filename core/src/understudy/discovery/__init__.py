"""Which plugins are installed, whether they may load, and loading them.

Enter by `registry.registry` and `registry.load_extensions`. `distributions` reads metadata only and imports no plugin;
`lock` and `trust` are imported only if there is a list or a lock. May import the nouns.
"""

from typing import TYPE_CHECKING

from understudy.contents import find_names

if TYPE_CHECKING:
    from understudy.discovery.lock import LockedPlugin, PluginLock
    from understudy.discovery.registry import load_extensions

__all__ = [
    "LockedPlugin",
    "PluginLock",
    "load_extensions",
]

_CONTENTS = {
    "discovery.lock": "LockedPlugin PluginLock",
    "discovery.registry": "load_extensions",
}
__getattr__ = find_names(__name__, _CONTENTS)


def __dir__() -> list[str]:
    return __all__
