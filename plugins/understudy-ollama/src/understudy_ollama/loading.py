"""The lane to a server that loads a model on request: if nothing comes in time, the server is asked why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from understudy.classify import classify_exception
from understudy.errors import Timeout
from understudy_ollama.failures import PROVIDER, failure_of_reply
from understudy_ollama.memory import Memory
from understudy_ollama.models import full_name, runs_elsewhere
from understudy_ollama.wire import loading_body, names_in
from understudy_toolkit import calls
from understudy_toolkit.lanes import Ask, AsyncReply, Lane, Reply

LOADED = "/api/ps"
# Of the time that a request has, so much is kept back to ask whether its model is being loaded, where nothing came: the
# call still ends in time, also where the SDK had to be imported first.
KEPT_BACK = 0.05  # of the whole
MOST_KEPT_BACK = 2.0  # seconds

_REPLIES = calls.Replies(PROVIDER, failure_of_reply)


class LoadingLane:
    """Carries requests as another lane does, and distinguishes a model that is being loaded from a server that is gone.

    Args:
        lane: what carries them.
        memory: records what the server says about its memory.
        url: the server's address, as it may be shown.
    """

    def __init__(self, lane: Lane, memory: Memory, url: str) -> None:
        self._lane, self._memory, self._url = lane, memory, url

    @property
    def keeps_deadline(self) -> bool:
        """Whether sync replies end in time."""
        return self._lane.keeps_deadline

    def prepare(self) -> None:
        """Do once what takes long."""
        self._lane.prepare()

    def send(self, ask: Ask) -> Reply:
        """Send a request, and return its reply once that has begun.

        Raises:
            Timeout: the model that is asked is being loaded, in words that say what to do.
            Exception: as the lane's.
        """
        kept_back = _kept_back(ask)
        try:
            return self._lane.send(replace(ask, seconds=ask.seconds - kept_back))
        except Exception as silence:
            if not kept_back or not _is_timeout(silence) or self.is_loaded(ask.body["model"], kept_back) is not False:
                raise
        raise self._loading(ask)

    async def asend(self, ask: Ask) -> AsyncReply:
        """Send a request on the running event loop, as `send`."""
        kept_back = _kept_back(ask)
        try:
            return await self._lane.asend(replace(ask, seconds=ask.seconds - kept_back))
        except Exception as silence:
            if not kept_back or not _is_timeout(silence):
                raise
            if await self.ais_loaded(ask.body["model"], kept_back) is not False:
                raise
        raise self._loading(ask)

    def is_loaded(self, model: str, seconds: float) -> bool | None:
        """Ask the server whether a model is in memory; the first request for one that is not loads it first.

        Args:
            model: the model's name.
            seconds: for the whole answer, above 0.

        Returns:
            Whether it is; None where the server does not say so in time, or has the model run elsewhere.
        """
        if runs_elsewhere(model):
            return None
        try:
            ask = Ask(path=LOADED, seconds=seconds, method="GET")
            return self._told(model, calls.answer(self._lane, ask, _REPLIES).document)
        except Exception:  # it is asked to explain a failure, which must not become another one
            return None

    async def ais_loaded(self, model: str, seconds: float) -> bool | None:
        """Ask as `is_loaded` does, on the running event loop."""
        if runs_elsewhere(model):
            return None
        try:
            ask = Ask(path=LOADED, seconds=seconds, method="GET")
            return self._told(model, (await calls.aanswer(self._lane, ask, _REPLIES)).document)
        except Exception:  # as above
            return None

    def close(self) -> None:
        """Close all connections."""
        self._lane.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        await self._lane.aclose()

    def _told(self, model: str, document: Any) -> bool:
        """Record what the server has said about its memory."""
        loaded = full_name(model) in map(full_name, names_in(document))
        if not loaded:
            self._memory.is_gone()
        return loaded

    def _loading(self, ask: Ask) -> Timeout:
        """Return the failure of a request that was given up while its model was being loaded."""
        return Timeout(
            f"{ask.body['model']} was not loaded within {ask.seconds:.3g} s, and loading it stops when its request is "
            "given up: give the call a longer timeout, or load the model beforehand, with the same settings: "
            f"curl {self._url}{ask.path} -d '{json.dumps(loading_body(ask.body))}'",
            provider=PROVIDER,
        )


def _kept_back(ask: Ask) -> float:
    return 0.0 if ask.body is None else min(ask.seconds * KEPT_BACK, MOST_KEPT_BACK)


def _is_timeout(exception: Exception) -> bool:
    return type(classify_exception(exception)) is Timeout
