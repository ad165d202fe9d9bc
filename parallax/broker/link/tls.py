"""Connections over TLS: the files that a URL names, and handshakes that no retry will mend.

redis-py takes the certificates from the URL's parameters, but looks at them at the first connection
only, and tells of them as of a server that is away. Paths may be secrets: errors name parameters.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any

from redis.connection import SSLConnection
from redis.exceptions import TimeoutError as RedisTimeout

from parallax.core.errors import InvalidInput, Unusable

#: What OpenSSL says of certificates and protocols; a line that merely broke says other things.
_LASTING = re.compile(
    r"\[(?:SSL|X509): \w*(?:CERT|UNKNOWN_CA|WRONG_VERSION|PROTOCOL|HANDSHAKE_FAILURE|RECORD_LAYER)"
    r"\w*\] (.+?)(?: \(_ssl\.c:\d+\))?[.')]*$"
)
#: A server that misses our certificate hangs up, and TLS 1.3 has no place to say why.
_HUNG_UP = "EOF occurred in violation of protocol"
_PLAIN_HINT = "; this port does not speak TLS: use redis://, or the port that does"
SILENT = "silence where TLS was begun: if this port does not speak TLS, use redis://"
#: Together with the time to connect below five seconds.
HANDSHAKE_TIMEOUT_S = 2.5
SHUTDOWN_TIMEOUT_S = 0.5
_WANTED = {
    "none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED,
}  # fmt: skip
_PAIR = "ssl_certfile and ssl_keyfile of the redis url"


def check_files(parameters: Mapping[str, Any]) -> None:
    """Load the files that a URL's parameters name; raises InvalidInput for one that will not do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca_file, ca_path = parameters.get("ssl_ca_certs"), parameters.get("ssl_ca_path")
    if ca_file or ca_path:
        try:
            context.load_verify_locations(ca_file, ca_path)
        except OSError as error:
            name = "ssl_ca_certs" if ca_file else "ssl_ca_path"
            allowed = f"name certificates of authorities in PEM ({_reason(error)})"
            raise InvalidInput(f"{name} of the redis url", "***", allowed) from None
    certificate, key = parameters.get("ssl_certfile"), parameters.get("ssl_keyfile")
    if certificate or key:
        # Never ask at the terminal for the password of a key.
        password = parameters.get("ssl_password") or ""
        try:
            context.load_cert_chain(certificate or "", key, password)
        except (OSError, ValueError) as error:
            allowed = f"name a certificate and its key, both in PEM ({_reason(error)})"
            raise InvalidInput(_PAIR, "***", allowed) from None


def context(parameters: Mapping[str, Any]) -> ssl.SSLContext:
    """Return what a URL's parameters ask of a handshake, as redis-py's own connections take it."""
    made = ssl.create_default_context()
    wanted = _WANTED[parameters.get("ssl_cert_reqs") or "required"]
    made.check_hostname = wanted != ssl.CERT_NONE and parameters.get("ssl_check_hostname", True)
    made.verify_mode = wanted
    certificate, key = parameters.get("ssl_certfile"), parameters.get("ssl_keyfile")
    if certificate or key:
        made.load_cert_chain(certificate or "", key, parameters.get("ssl_password") or "")
    ca_file, ca_path = parameters.get("ssl_ca_certs"), parameters.get("ssl_ca_path")
    if ca_file or ca_path:
        made.load_verify_locations(ca_file, ca_path)
    return made


def refusal(text: str) -> Unusable | None:
    """Return what a failed handshake means; None if it may go better the next time."""
    found = _LASTING.search(text)
    if found is None:
        return None
    plain = _PLAIN_HINT if "WRONG_VERSION" in found[0] or "RECORD_LAYER" in found[0] else ""
    return Unusable(f"no TLS with Redis: {found[1]}{plain}")


class TlsConnection(SSLConnection):
    """A connection whose handshake ends in time: a plain server never answers one."""

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        sock.settimeout(HANDSHAKE_TIMEOUT_S)
        try:
            wrapped = super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise RedisTimeout(SILENT) from None
        wrapped.settimeout(self.socket_timeout)
        return wrapped


def hint(text: str) -> str:
    """Return the likely cause if the server hung up without a word; usually nothing."""
    if _HUNG_UP not in text:
        return ""
    return " If it asks for certificates of clients, name one with ssl_certfile and ssl_keyfile."


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unreadable").replace("_", " ").lower()
    return getattr(error, "strerror", None) or "unreadable"
