"""Credentials of Google Cloud, for Vertex AI. Only google-auth is imported here, when somebody signs in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from understudy.errors import ProviderUnavailable

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def read_credentials(file: str | None) -> Any:
    """Return Google's credentials; may read files, and ask Google Cloud where it runs there.

    Args:
        file: a file with credentials, which may be named in a `.env` that Google's library does not read; None for
            those that the library finds itself.

    Raises:
        ProviderUnavailable: the file cannot be read.
        Exception: of google-auth, where there are no credentials.
    """
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
