"""The contract as a class of tests, which a provider's author inherits from. Needs pytest."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from understudy_toolkit.conformance.answer_rules import AnswerRules
from understudy_toolkit.conformance.capability_rules import CapabilityRules
from understudy_toolkit.conformance.certificate import certificate
from understudy_toolkit.conformance.failure_rules import FailureRules
from understudy_toolkit.conformance.guard import guard, stated
from understudy_toolkit.conformance.identity_rules import IdentityRules
from understudy_toolkit.conformance.life_rules import LifeRules
from understudy_toolkit.conformance.limits import limited
from understudy_toolkit.conformance.process_rules import ProcessRules
from understudy_toolkit.conformance.settings_rules import SettingsRules


class ProviderContract(
    FailureRules, LifeRules, ProcessRules, SettingsRules, CapabilityRules, AnswerRules, IdentityRules
):  # pytest begins at the end
    """Certifies a provider: everything that Understudy relies on, when all is well and when the vendor fails.

        from understudy_toolkit.conformance import ProviderContract

        class TestParrot(ProviderContract):
            name = "parrot"
            settings = {"PARROT_API_KEY": "not-a-real-key"}
            key = "PARROT_API_KEY"
            sdk = ("parrot_sdk",)

    ContractSetup says what else can be set and overridden, and understudy.testing how faults are arranged. A test of
    the contract that does not apply is skipped, with the reason; a test of your own in the place of one fails, unless
    it says why: see understudy_toolkit.conformance.overrides.
    """

    standard: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Guard the tests of the contract."""
        super().__init_subclass__(**arguments)
        guard(cls, cls.standard)

    @pytest.fixture(autouse=True)
    def _certify(self, request: pytest.FixtureRequest) -> None:
        certificate(request.config).add(request.node, self.name, lambda: stated(type(self), self.standard))


ProviderContract.standard = {
    name: limited(member)
    for rules in ProviderContract.__mro__
    for name, member in vars(rules).items()
    if name.startswith("test_")
}
for _name, _rule in ProviderContract.standard.items():
    setattr(ProviderContract, _name, _rule)
