"""The caller's own checks and listeners, run in the order in which they were named."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from understudy.errors import BrokenPlugin

if TYPE_CHECKING:
    import pluggy

    from understudy.events import Event
    from understudy.health.store import HealthStore
    from understudy.messages import Request
    from understudy.response import LLMResponse
    from understudy.settings import Settings

logger = logging.getLogger("understudy")


class Extensions:
    """The extensions of one factory.

    Args:
        manager: the plugin manager that holds them.
    """

    __slots__ = ("_check", "_event", "_prepare", "_store", "acts", "listens")

    def __init__(self, manager: pluggy.PluginManager) -> None:
        plugins = [plugin for _, plugin in manager.list_name_plugin() if plugin is not None]

        def in_order(hook: str) -> list[pluggy.HookCaller]:
            """One hook caller per plugin: pluggy alone would pass the first one's request to all of them."""
            caller = getattr(manager.hook, hook)
            having = [impl.plugin for impl in caller.get_hookimpls()]
            return [
                manager.subset_hook_caller(hook, [other for other in plugins if other is not plugin])
                for plugin in plugins
                if plugin in having
            ]

        self._store = in_order("understudy_health_store")
        self._prepare = in_order("understudy_prepare_request")
        self._check = in_order("understudy_check_response")
        self._event = in_order("understudy_event")
        self.listens = bool(self._event)
        self.acts = bool(self._prepare or self._check)

    def prepare_request(self, request: Request, provider_name: str) -> Request:
        """Pass the request through every extension that prepares requests.

        Raises:
            RequestRejected: one of them refused it.
            BrokenPlugin: one of them returned something that is not a request.
        """
        from understudy.messages import Request

        for caller in self._prepare:
            for prepared in caller(request=request, provider_name=provider_name):
                if not isinstance(prepared, Request):
                    raise BrokenPlugin(
                        "expected understudy_prepare_request to return a Request or None, "
                        f"found {type(prepared).__name__}"
                    )
                request = prepared
        return request

    def check_response(self, request: Request, response: LLMResponse) -> None:
        """Have every extension that checks responses look at one.

        Raises:
            ResponseRejected: one of them refused it.
        """
        for caller in self._check:
            caller(request=request, response=response)

    def health_store(self, settings: Settings) -> HealthStore | None:
        """Return the store that the first extension with one provides; None if none does.

        Raises:
            BrokenPlugin: what it provides is not a HealthStore.
        """
        from understudy.health.store import HealthStore

        for caller in self._store:
            store = caller(settings=settings)
            if store is None:
                continue
            if not isinstance(store, HealthStore) or isinstance(store, type):
                raise BrokenPlugin(f"expected understudy_health_store to return a HealthStore or None, found {store!r}")
            return store
        return None

    def tell(self, event: Event) -> None:
        """Notify every listener; a failing one is logged, since a metric must not break a call."""
        for caller in self._event:
            try:
                caller(event=event)
            except Exception:
                logger.exception("an understudy_event extension failed on %s", type(event).__name__)
