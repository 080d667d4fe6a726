"""The lane through google-generativeai: its client, and how it is asked. Imported, and the SDK with it, when needed.

Its replies are taken from it unread: its reader knows only what the API had when the SDK was made, loses the status of
some errors, and keeps a stream to itself until all of it has come. The generated client is used rather than
`GenerativeModel`, whose `configure()` is one for the whole process: each provider has a client and a key of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any

from understudy.errors import InvalidRequest
from understudy_gemini_legacy.quiet import unheard
from understudy_toolkit.account import Account
from understudy_toolkit.bodies import ENCODINGS
from understudy_toolkit.lanes import CONNECT_SECONDS, Ask
from understudy_toolkit.machine import REQUESTS, find_proxy
from understudy_toolkit.sdk_lane import ReplyTaken, seconds_left
from understudy_toolkit.tls import bundle_for

with unheard():
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

json_format: Any = import_module("google.protobuf.json_format")  # it has no types

CONNECTIONS = 100  # kept open for calls from several threads at once
PIECE = 65536  # most bytes of a reply that are read at once

logging.getLogger("understudy").warning(
    "google-generativeai, which the provider gemini-legacy uses, is past its end of life: understudy-gemini is the "
    "supported way to Gemini"
)


class Client:
    """The SDK's client, made so that it takes nothing from the environment.

    Args:
        account: whose requests they are, and where they go.
    """

    def __init__(self, account: Account) -> None:
        agent = f"genai-py/{version('google-generativeai')}"  # as google-generativeai names itself
        transport = GenerativeServiceRestTransport(
            host=account.base_url,
            credentials=_credentials(account),
            client_info=ClientInfo(user_agent=agent),  # type: ignore[no-untyped-call]  # google-api-core has no types here
        )
        self.base_url = account.base_url.rstrip("/")
        self.session: requests.Session = transport._session
        _isolate(self.session, account.base_url)
        self.service = GenerativeServiceClient(
            transport=transport, client_options={"universe_domain": "googleapis.com"}
        )

    def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        self.session.close()


class Response:
    """A response of requests, as httpx would have it."""

    is_closed = False  # nobody has read it

    def __init__(self, response: requests.Response) -> None:
        self.status_code: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the body as it comes; requests itself would wait until a piece is full."""
        raw = self._response.raw
        socket = getattr(raw.connection, "sock", None)  # None where the server closes the connection after this reply
        timeout = None if socket is None else socket.gettimeout()
        while True:
            if socket is not None:
                socket.settimeout(seconds_left(timeout))  # urllib3 has one time for every wait
            piece = raw.read1(PIECE, decode_content=False)
            if not piece:
                return
            yield piece

    def close(self) -> None:
        """End the response."""
        self._response.close()


class Adapter(HTTPAdapter):
    """Sends one request and opens its reply. What would follow (redirections, a second try after 401) does not."""

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Send a request.

        Raises:
            ReplyTaken: there is a reply.
        """
        request.headers["Accept-Encoding"] = ENCODINGS
        if request.method == "POST":
            # The SDK asks for the numbers of enum values, which only newer SDKs could name; the names come by default.
            request.url = (request.url or "").partition("?")[0]
        seconds = float(options.pop("timeout"))
        connect = min(seconds, CONNECT_SECONDS)
        streamed = (request.url or "").endswith(":streamGenerateContent")  # there the time is for each piece
        # requests takes limits of urllib3's as they are, although its types do not say so.
        limits: Any = Timeout(connect=connect, read=seconds) if streamed else Timeout(connect=connect, total=seconds)
        raise ReplyTaken(super().send(request, **{**options, "stream": True}, timeout=limits))

    def close(self) -> None:
        """Close all connections now; requests itself leaves that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for pool in map(manager.pools.get, manager.pools.keys()):
                if pool is not None:
                    pool.close()
        super().close()


open_client = Client


def send(client: Client, ask: Ask) -> Response:
    """Send a request through the SDK, and return the response, unread and whatever its status.

    Raises:
        InvalidRequest: the SDK has no place for something in the body.
        Exception: of requests and urllib3, where there is no reply.
    """
    try:
        if ask.method == "GET":
            client.session.get(f"{client.base_url}{ask.path}", params=dict(ask.query), timeout=ask.seconds)
        else:
            service = client.service
            call = service.stream_generate_content if ask.stream else service.generate_content
            call(_message(ask.body), retry=None, timeout=ask.seconds)
    except ReplyTaken as taken:
        return Response(taken.response)
    raise AssertionError("google-generativeai went on with a reply that was taken from it")


def _credentials(account: Account) -> Any:
    if account.key is None:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]  # google-auth has no types here
    return Credentials(account.key.reveal())  # type: ignore[no-untyped-call]  # as above


def _isolate(session: requests.Session, base_url: str) -> None:
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_maxsize=CONNECTIONS))  # of no retries, by default
    session.trust_env = False  # what the machine sets is read by us
    proxy, bundle = find_proxy(base_url, REQUESTS), bundle_for(base_url)
    session.proxies = {} if proxy is None else {"all": proxy.url_with_login}
    session.verify = bundle or True
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
