"""Trusted certificates, from the environment or the system, loaded once per process."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from understudy.errors import ProviderUnavailable
from understudy_toolkit.machine import OURS, REQUESTS, Carrier, fault_of_certificates, note_unreadable

__all__ = ["bundle_for", "context_for"]

Loaded = TypeVar("Loaded")


def context_for(url: str) -> ssl.SSLContext:
    """Return the TLS context for an address: loading certificates takes long, so there is one for the whole process.

    It trusts the certificates that SSL_CERT_FILE or SSL_CERT_DIR name, else the system's, else certifi's where they are
    installed.

    Raises:
        ProviderUnavailable: a variable names what cannot be read.
    """
    if url.lower().startswith("http://"):
        return _trusting_nobody()
    file, folder = (os.environ.get(name) or None for name in OURS.certificates)
    return _read(OURS, file, lambda: _context(file, folder))


def bundle_for(url: str) -> str | None:
    """Return the certificates for an address that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names, as requests reads them.

    Returns:
        A file or a directory; None where neither is set.

    Raises:
        ProviderUnavailable: it cannot be read.
    """
    path = next(filter(None, map(os.environ.get, REQUESTS.certificates)), None)
    if path is not None and url.lower().startswith("https://"):
        _read(REQUESTS, path, lambda: None if Path(path).is_dir() else _load(path))
    return path


def _read(carrier: Carrier, file: str | None, load: Callable[[], Loaded]) -> Loaded:
    """Load what the variables name."""
    fault = fault_of_certificates(carrier)
    if fault is None:
        try:
            return load()
        except OSError as error:  # ssl.SSLError among them
            note_unreadable(file or "", error.strerror or str(error))
            fault = fault_of_certificates(carrier) or f"expected certificates that can be read, found: {error}"
    raise ProviderUnavailable(fault)


@cache
def _load(file: str) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)


@cache
def _trusting_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: no certificates need to be loaded


@cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    if file is not None or folder is not None:
        return ssl.create_default_context(cafile=file, capath=folder)
    context = ssl.create_default_context()
    if not _has_certificates(context):
        with suppress(ImportError):  # without it, each handshake says that the certificate cannot be verified
            context.load_verify_locations(import_module("certifi").where())
    return context


def _has_certificates(context: ssl.SSLContext) -> bool:
    folder = ssl.get_default_verify_paths().capath  # its certificates are read when they are needed
    return bool(context.cert_store_stats()["x509"]) or (folder is not None and any(Path(folder).glob("*.0")))
