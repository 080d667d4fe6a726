"""Credentials of Google Cloud, for Vertex AI. Only google-auth is imported here, when somebody signs in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from understudy.errors import ProviderUnavailable
from understudy_toolkit.machine import REQUESTS, fault_of

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def read_credentials(file: str | None) -> Any:
    """Return Google's credentials; may read files, and ask Google Cloud where it runs there.

    Args:
        file: a file with credentials, which may be named in a `.env` that Google's library does not read; None for
            those that the library finds itself.

    Raises:
        ProviderUnavailable: the file cannot be read, or the machine's settings keep us from where tokens are given.
        Exception: of google-auth, where there are no credentials.
    """
    credentials = _found(file)
    place = getattr(credentials, "_token_uri", None)  # of service accounts and users: others ask this machine
    fault = None if place is None else fault_of(place, REQUESTS)  # which asks there (google-auth 2.56.0, transport)
    if fault is not None:
        raise ProviderUnavailable(fault)
    return credentials


def _found(file: str | None) -> Any:
    if file is not None:
        try:
            information = json.loads(Path(file).read_bytes())
        except (OSError, ValueError) as error:
            message = f"GOOGLE_APPLICATION_CREDENTIALS: expected a readable file of JSON at {file}, found: {error}"
            raise ProviderUnavailable(message) from None
        kind = information.get("type") if isinstance(information, dict) else None
        if kind == "service_account":
            from google.oauth2 import service_account

            load = service_account.Credentials.from_service_account_info
            return load(information, scopes=_SCOPES)  # type: ignore[no-untyped-call]  # google-auth has no types here
        if kind == "authorized_user":
            from google.oauth2.credentials import Credentials

            from_user = Credentials.from_authorized_user_info
            return from_user(information, scopes=_SCOPES)  # type: ignore[no-untyped-call]  # as above
    import google.auth

    return google.auth.default(scopes=_SCOPES)[0]
