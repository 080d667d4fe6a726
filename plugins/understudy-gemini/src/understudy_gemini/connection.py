"""Where Gemini is reached and how one signs in there: Google AI Studio with a key, Vertex AI with credentials."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy import ProviderUnavailable, Secret, Settings
from understudy_gemini.failures import KeyForm
from understudy_gemini.models import DEFAULT_MODEL, misplaced

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_REGIONS = ("us", "eu")  # of several locations each, with hosts of another form
# Our own first: many environments have Google's, for things that are in a single region, where newer models are not.
_LOCATIONS = ("VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One of the two ways to Gemini.

    Args:
        provider: "gemini" or "vertex".
        base_url: the address up to the version.
        api_version: the version in the path. v1beta and v1beta1 have thinking, tools and schemas for every model.
        model: the model that is asked where a request names none.
        credential: the account, in a word that does not reveal the key.
        key: the key for Google AI Studio.
        project: the Google Cloud project, for Vertex AI.
        location: the region, for Vertex AI.
        location_variable: the setting that names the region.
        credentials_file: a file with credentials, for Vertex AI; None for those that Google's library finds itself.
        unavailable: what is missing, in one sentence; None where nothing is.
    """

    provider: str
    base_url: str
    api_version: str
    model: str
    credential: str = ""
    key: Secret | None = None
    project: str | None = None
    location: str | None = None
    location_variable: str = "VERTEX_LOCATION"
    credentials_file: str | None = None
    unavailable: str | None = None

    @classmethod
    def to_gemini(cls, settings: Settings) -> Connection:
        """Read the way to Google AI Studio.

        Raises:
            ConfigurationError: the key or the URL is malformed.
        """
        names = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
        key = settings.api_key(*names)
        default = "https://generativelanguage.googleapis.com"
        base_url = settings.base_url("GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL", default=default)
        return cls(
            provider="gemini",
            base_url=base_url,
            api_version="v1beta",
            model=settings.model("GEMINI_MODEL", default=DEFAULT_MODEL),
            credential=settings.credential(key, base_url, default=default),
            key=key,
            unavailable=None if key or not settings.needs_key else settings.missing(*names),
        )

    @classmethod
    def to_vertex(cls, settings: Settings) -> Connection:
        """Read the way to Vertex AI.

        Raises:
            ConfigurationError: the URL is malformed.
        """
        project = settings.get("GOOGLE_CLOUD_PROJECT")
        location, variable, _ = settings.find(*_LOCATIONS) or ("global", _LOCATIONS[0], "")
        file = settings.get("GOOGLE_APPLICATION_CREDENTIALS")
        default = _vertex_url(location)
        base_url = settings.base_url("VERTEX_BASE_URL", "GOOGLE_VERTEX_BASE_URL", default=default)
        return cls(
            provider="vertex",
            base_url=base_url,
            api_version="v1beta1",
            model=settings.model("VERTEX_MODEL", default=DEFAULT_MODEL),
            credential=_account(project, location, file) + settings.credential(None, base_url, default=default),
            project=project,
            location=location,
            location_variable=variable,
            credentials_file=file,
            unavailable=_refusal(settings) or (None if project else settings.missing("GOOGLE_CLOUD_PROJECT")),
        )

    @property
    def key_form(self) -> KeyForm | None:
        """Whether the key has the form that Google refuses by now; None where there is none."""
        if self.key is None:
            return None
        return "old" if self.key.reveal().startswith("AIza") else "new"

    def misplaced(self, model: str) -> str | None:
        """Say that Vertex AI does not have a model in the chosen region, and what to set; None where it may."""
        return misplaced(model, self.location, self.location_variable)

    def read_credentials(self) -> Any:
        """Return Google's credentials for Vertex AI; may read files, and ask Google Cloud where it runs there.

        Returns:
            The credentials; None for Google AI Studio, where the key does.

        Raises:
            ProviderUnavailable: the file with the credentials cannot be read.
            Exception: of google-auth, where there are no credentials.
        """
        return None if self.project is None else _credentials(self.credentials_file)

    def client_arguments(self, credentials: Any) -> dict[str, Any]:
        """Return what the SDK's client signs in with: the key in clear, so nothing may keep this."""
        if self.project is None:  # a server without keys looks at none, but the SDK wants one
            return {"vertexai": False, "api_key": self.key.reveal() if self.key is not None else "none"}
        return {"vertexai": True, "project": self.project, "location": self.location, "credentials": credentials}


def _refusal(settings: Settings) -> str | None:
    """Refuse an address in `understudy.toml`: Google's token, unlike a key named there, is good at all of Google."""
    if not settings.base_url(default=""):
        return None
    return (
        f"[providers.{settings.provider_name}] in understudy.toml: expected no base_url, since vertex signs in with "
        "Google's own token; set VERTEX_BASE_URL if it may go to another address"
    )


def _account(project: str | None, location: str, file: str | None) -> str:
    """Name who is charged and whose quota counts; who signs in is told by the file's name: it is not read here."""
    who = hashlib.sha256(file.encode()).hexdigest()[:12] if file is not None else ""
    return f"{project or ''}/{location}/{who}"


def _vertex_url(location: str) -> str:
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _credentials(file: str | None) -> Any:
    """Read the credentials of a file, which may be named in a `.env` that Google's library does not read; or ask it."""
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
