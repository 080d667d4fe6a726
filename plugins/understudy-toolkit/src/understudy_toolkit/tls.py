"""Trusted certificates, from the environment or the system, loaded once per process."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from understudy.errors import ProviderUnavailable
from understudy_toolkit.clients import is_this_machine

__all__ = ["context_for"]

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # OpenSSL's own


def context_for(url: str) -> ssl.SSLContext:
    """Return the TLS context for an address: loading certificates takes long, so there is one for the whole process.

    It trusts the certificates that SSL_CERT_FILE or SSL_CERT_DIR name, else the system's, else certifi's where they are
    installed.

    Raises:
        ProviderUnavailable: a variable names what cannot be read.
    """
    if url.lower().startswith("http://") and is_this_machine(url):
        return _trusting_nobody()
    return _context(*(os.environ.get(name) or None for name in _VARIABLES))


@cache
def _trusting_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: no certificates need to be loaded


@cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    for name, value in zip(_VARIABLES, (file, folder), strict=True):
        if value is not None and not Path(value).exists():
            raise ProviderUnavailable(
                f"{name}: expected certificates at {value}, found nothing there; correct or remove the variable"
            )
    if file is not None or folder is not None:
        try:
            return ssl.create_default_context(cafile=file, capath=folder)
        except OSError as error:  # ssl.SSLError among them
            fault = error.strerror or str(error)
        raise ProviderUnavailable(
            f"SSL_CERT_FILE: expected certificates in PEM form at {file}, found: {fault}; correct or remove it"
        )
    context = ssl.create_default_context()
    if not _has_certificates(context):
        with suppress(ImportError):  # without it, each handshake says that the certificate cannot be verified
            context.load_verify_locations(import_module("certifi").where())
    return context


def _has_certificates(context: ssl.SSLContext) -> bool:
    folder = ssl.get_default_verify_paths().capath  # its certificates are read when they are needed
    return bool(context.cert_store_stats()["x509"]) or (folder is not None and any(Path(folder).glob("*.0")))
