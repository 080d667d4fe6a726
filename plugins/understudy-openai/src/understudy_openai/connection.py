"""Which account is used: OpenAI's own, or one at a server that speaks its API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from understudy import Settings
from understudy_openai.models import DEFAULT_MODEL
from understudy_toolkit.account import Account, read_account

# With the version of the API, which has no header of its own (openai 3.57.0, _data_residency.py).
BASE_URL = "https://api.openai.com/v1"
# Credentials and accounts that the SDK takes from the environment by itself; others are set on purpose or not at all.
ACCOUNT = ("Authorization", "OpenAI-Organization", "OpenAI-Project")


@dataclass(frozen=True, slots=True)
class Connection:
    """An account, and what goes along with its key.

    Args:
        account: the address, the key, the model, and what is missing.
        charged: the headers of the organization and the project that are charged.
        has_own_name: whether it is another server, under a name of its own, which shall see nothing that is OpenAI's.
    """

    account: Account
    charged: Mapping[str, str]
    has_own_name: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Connection:
        """Read it from the settings, or from another provider's own table.

        Raises:
            ConfigurationError: a setting is malformed.
        """
        account = read_account(
            settings,
            key="OPENAI_API_KEY",
            url="OPENAI_BASE_URL",
            default_url=BASE_URL,
            model="OPENAI_MODEL",
            default_model=DEFAULT_MODEL,
            transport="OPENAI_TRANSPORT",
            headers="OPENAI_CUSTOM_HEADERS",
            credentials=ACCOUNT,
        )
        if settings.provider_name is not None:
            return cls(account, {}, has_own_name=True)
        found = {
            "OpenAI-Organization": settings.get("OPENAI_ORG_ID"),
            "OpenAI-Project": settings.get("OPENAI_PROJECT_ID"),
        }
        return cls(account, {name: value for name, value in found.items() if value is not None})

    @property
    def credentials(self) -> dict[str, str]:
        """The headers that carry the key, and what is charged."""
        return {**self.account.bearer, **self.charged}
