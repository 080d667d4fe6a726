"""Where Gemini is reached, and how to sign in: Google AI Studio with a key, Vertex AI with credentials."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

from understudy import ConfigurationError, Settings
from understudy_gemini.models import DEFAULT_MODEL, VERTEX, misplaced
from understudy_toolkit.account import Account, read_account, read_transport

BASE_URL = "https://generativelanguage.googleapis.com"
# The version of each API, chosen here and not by the SDK, whose own became v1 for Google AI Studio with 3.0.0. Names
# such as gemini-pro-latest are only on v1beta; Vertex AI's v1beta1 is the SDK's own still. Both have thinking, tools
# and schemas for every model.
# google-genai 3.6.1, README and _api_client.py; https://ai.google.dev/gemini-api/docs/api-versions, read 2026-12-01
API_VERSION = "v1beta"
VERTEX_API_VERSION = "v1beta1"
# Google's servers end an answer after the seconds in X-Server-Timeout, and refuse less than 10 with 400 "Minimum
# allowed deadline is 10s" (https://github.com/livekit/agents/issues/3723, read 2026-11-30). The client keeps shorter
# times by itself. A stream's time is meant for each piece, so the whole gets half an hour: without the header Vertex AI
# would end it after 5 minutes (https://github.com/googleapis/js-genai/issues/1489), and Google's own client sends a
# long one for streams (https://github.com/google-gemini/gemini-api-cli/pull/12).
SERVER_TIMEOUT = "X-Server-Timeout"
LEAST_SERVER_TIMEOUT = 10  # seconds
STREAM_SERVER_TIMEOUT = 1800  # seconds

_REGIONS = ("us", "eu")  # of several locations each, with hosts of another form
# Our own first: many environments have Google's, for things that are in a single region, where newer models are not.
_LOCATIONS = ("VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One of the two ways to Gemini.

    Args:
        provider: "gemini" or "vertex".
        account: the address up to the version, the key for Google AI Studio, the model, and what is missing.
        api_version: the version in the path.
        project: the Google Cloud project, for Vertex AI.
        location: the region, for Vertex AI.
        location_variable: the setting that names the region.
        credentials_file: a file with credentials, for Vertex AI; None for those that Google's library finds itself.
    """

    provider: str
    account: Account
    api_version: str
    project: str | None = None
    location: str | None = None
    location_variable: str = _LOCATIONS[0]
    credentials_file: str | None = None

    @classmethod
    def to_gemini(cls, settings: Settings) -> Connection:
        """Read the way to Google AI Studio.

        Raises:
            ConfigurationError: a setting is malformed.
        """
        account = read_account(
            settings,
            key=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
            url=("GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"),
            default_url=BASE_URL,
            model="GEMINI_MODEL",
            default_model=DEFAULT_MODEL,
            transport="GEMINI_TRANSPORT",
        )
        return cls(provider="gemini", account=account, api_version=API_VERSION)

    @classmethod
    def to_vertex(cls, settings: Settings) -> Connection:
        """Read the way to Vertex AI, which only the SDK can go: it signs in with an identity of Google Cloud.

        Raises:
            ConfigurationError: the URL or the location is malformed, or the URL is trusted less than the credentials.
        """
        refusal = _refusal(settings.for_account())
        settings = settings.for_account()
        project = settings.get("GOOGLE_CLOUD_PROJECT")
        location, variable, origin = settings.find(*_LOCATIONS) or ("global", _LOCATIONS[0], "")
        if not re.fullmatch("[a-z0-9-]+", location):  # it becomes a part of the host that gets Google's token
            raise ConfigurationError(
                f"{variable} in {origin}: expected a location such as europe-west1, found another form"
            )
        named = "GOOGLE_APPLICATION_CREDENTIALS"
        file = settings.get(named) if refusal else settings.credentials_file(named)
        default = _vertex_url(location)
        base_url = settings.base_url("VERTEX_BASE_URL", "GOOGLE_VERTEX_BASE_URL", default=default)
        account = Account(
            base_url=base_url,
            model=settings.model("VERTEX_MODEL", default=DEFAULT_MODEL),
            credential=_account(project, location, file) + settings.credential(None, base_url, default=default),
            missing=refusal or (None if project else settings.missing("GOOGLE_CLOUD_PROJECT")),
            is_vendor=base_url == default,
            transport=read_transport(settings, "VERTEX_TRANSPORT", base_url, lanes=("sdk",)),
        )
        return cls(
            provider=VERTEX,
            account=account,
            api_version=VERTEX_API_VERSION,
            project=project,
            location=location,
            location_variable=variable,
            credentials_file=file,
        )

    @property
    def credentials(self) -> dict[str, str]:
        """The headers that carry the key; those of Vertex AI are the SDK's."""
        key = self.account.key
        return self.account.login | ({} if key is None else {"x-goog-api-key": key.reveal()})

    @property
    def models_path(self) -> str:
        """The path of the list of models; on Vertex AI, of all that it has of Google's."""
        return f"/{self.api_version}/{'publishers/google/' if self.provider == VERTEX else ''}models"

    def path(self, model: str, *, stream: bool) -> str:
        """Return the path of a request to a model, which may have its publisher or its project before its name."""
        method = "streamGenerateContent" if stream else "generateContent"
        if self.provider != VERTEX:
            return f"/{self.api_version}/{model if '/' in model else f'models/{model}'}:{method}"
        if not model.startswith(("projects/", "publishers/", "models/")):
            publisher, _, name = model.rpartition("/")
            model = f"publishers/{publisher or 'google'}/models/{name}"
        if not model.startswith("projects/"):
            model = f"projects/{self.project}/locations/{self.location}/{model}"
        return f"/{self.api_version}/{model}:{method}"

    def refusal(self, model: str | None) -> str | None:
        """Say what is missing, or that Vertex AI does not have a model in the chosen region; None where nothing is."""
        return self.account.unavailable_reason or (self.misplaced(model) if model is not None else None)

    def misplaced(self, model: str) -> str | None:
        """Say that Vertex AI does not have a model in the chosen region, and what to set; None where it may."""
        return misplaced(model, self.location, self.location_variable)


def server_timeout(seconds: float, *, stream: bool) -> dict[str, str]:
    """Return the header that tells Google's servers how long an answer may take."""
    at_server = STREAM_SERVER_TIMEOUT if stream else max(LEAST_SERVER_TIMEOUT, math.ceil(seconds))
    return {SERVER_TIMEOUT: str(at_server)}


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
