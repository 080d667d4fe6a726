"""This project's own packages, and where they are available.

They are not published: until all these names are registered on the public index, `pip install` of one of them there
could bring a stranger's code (docs/decisions/0045-names-before-advice.md).
"""

from __future__ import annotations

__all__ = ["FOLDERS", "KNOWN_PACKAGES", "source_of"]

# The folder of each in a clone of the repository.
FOLDERS = {
    "understudy": "core",
    "understudy-claude": "plugins/understudy-claude",
    "understudy-cli": "plugins/understudy-cli",
    "understudy-cohere": "plugins/understudy-cohere",
    "understudy-gemini": "plugins/understudy-gemini",
    "understudy-gemini-legacy": "plugins/understudy-gemini-legacy",
    "understudy-gemini-wire": "plugins/understudy-gemini-wire",
    "understudy-ollama": "plugins/understudy-ollama",
    "understudy-openai": "plugins/understudy-openai",
    "understudy-sandbox": "plugins/understudy-sandbox",
    "understudy-toolkit": "plugins/understudy-toolkit",
}

# Which package brings a provider. Only packages that exist: an invented one could be anybody's.
KNOWN_PACKAGES = {
    "gemini": "understudy-gemini",
    "gemini-legacy": "understudy-gemini-legacy",
    "vertex": "understudy-gemini",
    "claude": "understudy-claude",
    "cohere": "understudy-cohere",
    "ollama": "understudy-ollama",
    "openai": "understudy-openai",
    "echo": "understudy-sandbox",
}


def source_of(package: str, version: str = "") -> str:
    """Say where to get a package, in words that fit in parentheses.

    Args:
        package: its name in the normal form of PEP 503.
        version: the version that is wanted, where it must be that one.

    Returns:
        The folder in a clone, of a package of ours; else the command that installs it again.
    """
    if package in FOLDERS:
        return f"{FOLDERS[package]} in a clone" + (f", at version {version}" if version else "")
    return f"pip install --force-reinstall {package}" + (f"=={version}" if version else "")
