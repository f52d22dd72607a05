"""Addresses to listen at, as an operator writes them."""

from urllib.parse import urlsplit

FORMS = "an address is HOST:PORT, such as 0.0.0.0:50051, [IPV6]:PORT or unix:/PATH"

_UNIX = "unix:"


def host_and_port(address: str) -> tuple[str, int] | None:
    """Return where an address lies in the network; None for a Unix socket. Errors: ValueError saying what is allowed."""
    if address.startswith(_UNIX) and address != _UNIX:
        return None
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{FORMS} ({error})") from error
    if not host or port is None or parts.username is not None or parts.netloc != address:
        raise ValueError(FORMS)
    return host, port
