"""The hooks. Their docstrings are the plugin author's manual.

A provider plugin is a module with one function, named in the distribution's pyproject.toml:

    [project.entry-points."understudy.providers"]
    parrot = "understudy_parrot"

    # understudy_parrot.py
    from understudy import ChatProvider, LLMResponse, hookimpl

    class Parrot(ChatProvider):
        def generate(self, request):
            return LLMResponse(True, request.prompt, "parrot")

        def get_provider_name(self):
            return "parrot"

    @hookimpl
    def understudy_provider(settings):
        return Parrot()

The entry point's name is the provider's name. The module is imported only when somebody asks for that name, so keep
the import of an SDK inside the functions that use it.

An extension is a module of the same kind in the group `understudy.extensions`, with any of the other hooks. It is
loaded only if it is named, in LLM_EXTENSIONS or as an argument.

Hook arguments are passed by name; an implementation may leave out those it does not need, and must not give defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from understudy.events import Event
    from understudy.health.store import HealthStore
    from understudy.messages import Request
    from understudy.provider import LLMProvider
    from understudy.response import LLMResponse
    from understudy.settings import Settings

PROVIDER_GROUP = "understudy.providers"
EXTENSION_GROUP = "understudy.extensions"

hookspec = pluggy.HookspecMarker("understudy")
hookimpl = pluggy.HookimplMarker("understudy")


@hookspec(firstresult=True)
def understudy_provider(settings: Settings) -> LLMProvider | None:
    """Make the provider. Called once per factory, when the factory is made: read settings, open nothing.

    Args:
        settings: where keys, URLs and model names come from: settings.secret("PARROT_API_KEY").

    Returns:
        The provider. If a key is missing, a provider whose `unavailable_reason` says so.

    Raises:
        ConfigurationError: a setting is malformed.
    """


@hookspec
def understudy_prepare_request(request: Request, provider_name: str) -> Request | None:
    """Change or check a request before it goes to one provider, for example to adapt the prompt to it.

    Args:
        request: what will be sent; frozen, so make another with dataclasses.replace.
        provider_name: the provider that it will be sent to.

    Returns:
        The request to send instead, or None to leave it as it is.

    Raises:
        RequestRejected: the request must not be sent to any provider: the call ends.
    """


@hookspec
def understudy_check_response(request: Request, response: LLMResponse) -> None:
    """Check an answer before the caller gets it.

    Raises:
        ResponseRejected: the answer is rejected: the next provider is asked.
    """


@hookspec
def understudy_event(event: Event) -> None:
    """Receive the events of a call (see understudy.events), for metrics, traces and alarms; be quick."""


@hookspec(firstresult=True)
def understudy_health_store(settings: Settings) -> HealthStore | None:
    """Provide a store for the targets' health, for example one that several processes share.

    Called once per factory, when the factory is made: read settings, open nothing.

    Returns:
        A HealthStore (see understudy.health.store), or None to leave it to the next extension, and finally to
        the store in memory. If it `blocks` and fails, or does not answer within 20 ms, it is not asked for a while and
        the process uses only what it learns itself: a store never fails or delays a call.
    """


@hookspec
def understudy_commands(app: Any) -> None:
    """Add commands to the `understudy` command line.

    Args:
        app: its Typer application.
    """
