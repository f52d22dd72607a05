"""TLS: what a client trusts and what it shows, and where both are said."""

import os
from dataclasses import dataclass
from os import PathLike

import grpc

from ellq_client.errors import TlsFailure

SWITCH = "ELLQ_TLS"
VARIABLES = {
    "ca_file": "ELLQ_TLS_CA",
    "certificate_file": "ELLQ_TLS_CERTIFICATE",
    "key_file": "ELLQ_TLS_KEY",
    "server_name": "ELLQ_TLS_SERVER_NAME",
}
"""Where each field comes from when no caller gives it."""

_SWITCHED = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Reach the server by TLS. Files are PEM, read when the connection is opened."""

    ca_file: str | PathLike[str] | None = None
    """Authorities, one of which must have signed the server's certificate. None: those that gRPC brings along."""
    certificate_file: str | PathLike[str] | None = None
    """Certificate chain to show to a server that asks for one (mutual TLS)."""
    key_file: str | PathLike[str] | None = None
    """Private key of that certificate; goes with it."""
    server_name: str | None = None
    """Name in the server's certificate. None: the one in its address."""

    def __post_init__(self) -> None:
        """Refuse half a pair. Errors: ValueError."""
        if (self.certificate_file is None) != (self.key_file is None):
            given, missing = ("certificate", "key") if self.key_file is None else ("key", "certificate")
            raise ValueError(f"tls.{given}_file needs tls.{missing}_file")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what a channel takes. Errors: TlsFailure when a file cannot be read."""
        contents = [_content(path) for path in (self.ca_file, self.key_file, self.certificate_file)]
        return grpc.ssl_channel_credentials(*contents)

    def options(self) -> tuple[tuple[str, str], ...]:
        """Return the channel options that go with the credentials."""
        return () if self.server_name is None else (("grpc.ssl_target_name_override", self.server_name),)


def chosen_tls(*, switch: bool = False, **given: str | None) -> Tls | None:
    """Return TLS with fields as given, else as the environment says; None: plaintext.

    Whatever is given turns it on; otherwise ELLQ_TLS decides, and without it, whether any other variable is set.
    Errors: ValueError.
    """
    values = {name: given.get(name) or os.environ.get(variable) or None for name, variable in VARIABLES.items()}
    if switch or any(given.values()):
        return Tls(**values)
    word = os.environ.get(SWITCH, "")
    if word and word.lower() not in _SWITCHED:
        raise ValueError(f"{SWITCH} is {word!r}; known: {', '.join(_SWITCHED)}")
    wanted = _SWITCHED[word.lower()] if word else any(values.values())
    return Tls(**values) if wanted else None


def _content(path: str | PathLike[str] | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TlsFailure(f"cannot read {os.fspath(path)} for TLS: {error.strerror or error}") from error
