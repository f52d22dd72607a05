"""What to change when no connection comes about: gRPC says UNAVAILABLE of all of it, and the rest in words.

With several addresses behind a name it tells of the last one only; one where nobody listens can hide what another said.
"""

import re
from collections.abc import Iterator

from ellq_client.channels import ServerAddress
from ellq_client.errors import RemoteError, TlsFailure, Unavailable
from ellq_client.tls import Tls

_NO_CONNECTION = re.compile("connections to all backends failing|failed to connect to all addresses")
"""How gRPC begins when it speaks for itself; a proxy that cannot reach its own backends must not be taken for it."""

_HUNG_UP = re.compile("Socket closed|Connection reset|Broken pipe")
_NOBODY = re.compile("Connection refused|No such file|No route to host|unreachable", re.IGNORECASE)
_UNRESOLVED = re.compile("^(DNS resolution failed|Domain name not found|errors resolving)", re.IGNORECASE)

_IPV6_OF_LOCALHOST = re.compile(r"(%5B|\[)::1(%5D|\])", re.IGNORECASE)
_CHECK = "check the address, and that a server runs there (`ellq serve` starts one)"
_HIDDEN = "localhost has two addresses, and this is what the last one said; 127.0.0.1 in its place tells what is wrong there"

_HANDSHAKE = re.compile("handshake failed", re.IGNORECASE)

_REMEDIES = {
    "Hostname Verification": "its certificate is for another name; use that name as address, or give it as tls.server_name",
    "has expired": "its certificate has expired; the server needs a new one, or the clock of this machine is wrong",
    "not yet valid": "its certificate is not valid yet; the clock of this machine or of its maker is wrong",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is signed by nobody whom tls.ca_file trusts; give the file of its authority",
    "WRONG_VERSION_NUMBER": "it does not speak TLS at that port; leave out tls (and ELLQ_TLS), or name its port for TLS",
    "create security handshaker": "no TLS with the files of tls: not PEM, or a key that is not that of the certificate",
}
"""What to do by a piece of gRPC's words; the first that fits."""


def unreached(told: str, server: ServerAddress) -> tuple[type[RemoteError], str]:
    """Return error and message for a server that cannot be reached, from the words of gRPC.

    TlsFailure, which is never tried again, only where the words leave no doubt. A server that hangs up may be one that is going
    away, so it stays Unavailable, and the message asks.
    """
    if not _NO_CONNECTION.search(told):
        unresolved = server.uri is not None and _UNRESOLVED.search(told)
        return Unavailable, f"{server.told()}: {told}{f'; {_CHECK}' if unresolved else ''}"
    if server.tls is not None:
        for words, remedy in _REMEDIES.items():
            if words in told:
                return TlsFailure, f"{server.told()}: {remedy} ({told})"
        if _HANDSHAKE.search(told):
            return TlsFailure, f"{server.told()}: {told}"
    return Unavailable, "; ".join([f"{server.told()}: {told}", *_advice(told, server)])


def _advice(told: str, server: ServerAddress) -> Iterator[str]:
    """Yield what to look at when the words of gRPC leave it open."""
    if _HUNG_UP.search(told):
        yield _question(server.tls)
    elif _NOBODY.search(told) and server.uri is not None:
        yield _CHECK
        if "localhost" in server.uri and _IPV6_OF_LOCALHOST.search(told):
            yield _HIDDEN


def _question(tls: Tls | None) -> str:
    """Return what may be wrong with a connection that was closed before anything was said."""
    if tls is None:
        return "does it want TLS? then give tls=Tls()"
    if tls.certificate_file is None:
        return "does it want a certificate of the client? then give tls.certificate_file and tls.key_file"
    return "does it trust tls.certificate_file, and is that still valid?"
