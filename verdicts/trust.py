"""Whom we believe over TLS: the authorities that this machine believes, as its other programs do."""

import ssl
from functools import cache


@cache
def authorities() -> ssl.SSLContext:
    """OpenSSL's own: the system's store, to which a network adds its authority, or SSL_CERT_FILE and SSL_CERT_DIR.

    httpx would take the bundle of a Python package in their place, which knows no network's own.
    """
    return ssl.create_default_context()
