from understudy_toolkit.conformance import ProviderContract


class TestParrot(ProviderContract):
    name = "parrot"
    settings = {"PARROT_API_KEY": "cracker-please"}
    key = "PARROT_API_KEY"
