"""The SDK's client, made so that it takes nothing from the environment and hands us replies unread.

Imported with the SDK, at the first request. Of google-generativeai the generated client is used rather than
`GenerativeModel`, whose `configure()` is one for the whole process: each provider has a client and a key of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar

import requests
from google.ai.generativelanguage_v1beta import GenerateContentRequest, GenerativeServiceClient
from google.ai.generativelanguage_v1beta.services.generative_service.transports.rest import (
    GenerativeServiceRestTransport,
)
from google.api_core.gapic_v1.client_info import ClientInfo
from google.auth.api_key import Credentials
from google.auth.credentials import AnonymousCredentials
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.util import Timeout

from understudy import InvalidRequest
from understudy_toolkit.clients import is_this_machine

json_format: Any = import_module("google.protobuf.json_format")  # it has no types

CONNECT_TIMEOUT = 5.0  # seconds
MODELS_AT_ONCE = 1000  # the most that a page of a list may have: https://ai.google.dev/api/models, read 2026-11-30
CONNECTIONS = 100  # kept open for calls from several threads at once

logging.getLogger("understudy").warning(
    "google-generativeai, which the provider gemini-legacy uses, is past its end of life: understudy-gemini is the "
    "supported way to Gemini"
)


class ReplyOpened(Exception):
    """Takes a reply past the SDK's own reader.

    That reader knows only what the API had when the SDK was made, loses the status of some errors, and keeps a stream
    to itself until all of it has come. Ours (wire.py, streaming.py) reads the same bytes.
    """

    def __init__(self, response: requests.Response) -> None:
        super().__init__()
        self.response = response


class Adapter(HTTPAdapter):
    """Sends one request and opens its reply. What would follow (redirections, a second try after 401) does not."""

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Send a request.

        Raises:
            ReplyOpened: there is a reply.
        """
        if request.method == "POST":
            # The SDK asks for the numbers of enum values, which only newer SDKs could name; the names come by default.
            request.url = (request.url or "").partition("?")[0]
        seconds = float(options.pop("timeout"))
        connect = min(seconds, CONNECT_TIMEOUT)
        streamed = (request.url or "").endswith(":streamGenerateContent")  # there the time is for each piece
        # requests takes limits of urllib3's as they are, although its types do not say so.
        limits: Any = Timeout(connect=connect, read=seconds) if streamed else Timeout(connect=connect, total=seconds)
        raise ReplyOpened(super().send(request, **{**options, "stream": True}, timeout=limits))

    def close(self) -> None:
        """Close all connections now; requests itself leaves that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for pool in map(manager.pools.get, manager.pools.keys()):
                if pool is not None:
                    pool.close()
        super().close()


class Client:
    """One provider's client of the SDK.

    Args:
        base_url: the address up to the version.
        key: the key, in clear; None for a server without keys.
    """

    _methods: ClassVar[Mapping[bool, str]] = {False: "generate_content", True: "stream_generate_content"}

    def __init__(self, base_url: str, key: str | None) -> None:
        agent = f"genai-py/{version('google-generativeai')}"  # as google-generativeai names itself
        transport = GenerativeServiceRestTransport(
            host=base_url,
            credentials=_credentials(key),
            client_info=ClientInfo(user_agent=agent),  # type: ignore[no-untyped-call]  # google-api-core has no types here
        )
        self._base_url = base_url.rstrip("/")
        self._session: requests.Session = transport._session
        _isolate(self._session, base_url)
        self._client = GenerativeServiceClient(
            transport=transport, client_options={"universe_domain": "googleapis.com"}
        )

    def open(self, body: Mapping[str, Any], seconds: float, *, streamed: bool) -> requests.Response:
        """Send a request, and return its reply unread.

        Args:
            body: the JSON of a GenerateContentRequest.
            seconds: how long the connection may take, and each wait after it.
            streamed: whether the answer shall come piece by piece.

        Raises:
            InvalidRequest: the SDK has no place for something in the body.
            Exception: of requests and urllib3, where there is no reply.
        """
        message = _message(body)
        call = getattr(self._client, self._methods[streamed])
        try:
            call(message, retry=None, timeout=seconds)
        except ReplyOpened as opened:
            return opened.response
        raise AssertionError("google-generativeai went on with a reply that was taken from it")

    def open_list(self, seconds: float) -> requests.Response:
        """Ask for the list of models, and return its reply unread.

        Args:
            seconds: how long the connection may take, and each wait after it.

        Raises:
            Exception: of requests and urllib3, where there is no reply.
        """
        try:
            self._session.get(f"{self._base_url}/v1beta/models", params={"pageSize": MODELS_AT_ONCE}, timeout=seconds)
        except ReplyOpened as opened:
            return opened.response
        raise AssertionError("google-auth went on with a reply that was taken from it")

    def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        self._session.close()


def _credentials(key: str | None) -> Any:
    if key is None:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]  # google-auth has no types here
    return Credentials(key)  # type: ignore[no-untyped-call]  # as above


def _isolate(session: requests.Session, base_url: str) -> None:
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_maxsize=CONNECTIONS))  # of no retries, by default
    session.trust_env = not is_this_machine(base_url)  # whether a proxy of the environment is used
    session.auth = _keep_to_the_url


def _keep_to_the_url(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign in with what the base URL says, if anything: without this, requests would look into ~/.netrc."""
    name, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(name, password)(request) if name else request


def _message(body: Mapping[str, Any]) -> GenerateContentRequest:
    message = GenerateContentRequest()
    try:
        json_format.ParseDict(body, GenerateContentRequest.pb(message))
    except (json_format.ParseError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
    else:
        return message
    raise InvalidRequest(f"expected a request that google-generativeai has a place for, found: {reason:.300}")
