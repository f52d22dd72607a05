"""The server's side of TLS: files that are checked at start, and read again once they have been replaced."""

import os
import ssl
from dataclasses import dataclass

import grpc

from ellq_server.logs import log
from ellq_server.settings import Settings

KEY_OF_ANOTHER_CERTIFICATE = "KEY_VALUES_MISMATCH"


class UnusableCertificate(ValueError):
    """A setting of TLS, or a file that it names, cannot be used; the message names both."""


@dataclass(frozen=True)
class TlsFiles:
    """Where the files are. All of them PEM."""

    certificate: str
    key: str
    client_ca: str
    """Empty: clients need no certificate."""

    @property
    def present(self) -> dict[str, str]:
        """Path by the name of its setting."""
        paths = {"tls_certificate_file": self.certificate, "tls_key_file": self.key, "tls_client_ca_file": self.client_ca}
        return {name: path for name, path in paths.items() if path}

    def version(self) -> list[tuple[int, int, int] | None]:
        """Return what tells one version of the files from the next, without reading them; None for one that is not there.

        Links are followed: Kubernetes replaces the directory behind them, never the files.
        """
        return [_version(path) for path in self.present.values()]

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read and check the files. Errors: UnusableCertificate."""
        version = self.version()
        found = {name: _content(name, path) for name, path in self.present.items()}
        self._check_pair()
        if self.version() != version:  # the pair that was checked may not be the one that was read
            raise UnusableCertificate("tls_certificate_file, tls_key_file: replaced while they were read")
        pair = found["tls_key_file"], found["tls_certificate_file"]
        return grpc.ssl_server_certificate_configuration([pair], found.get("tls_client_ca_file"))

    def _check_pair(self) -> None:
        try:
            # with a password, or OpenSSL asks the terminal for it
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, password="")
        except OSError as error:
            other = isinstance(error, ssl.SSLError) and error.reason == KEY_OF_ANOTHER_CERTIFICATE
            problem = f"not the key of {self.certificate}" if other else "no private key in PEM form without a password"
            raise UnusableCertificate(f"tls_key_file: {self.key}: {problem}") from error


class RotatingCredentials:
    """Credentials of a port. Files that are replaced count from the next connection on."""

    def __init__(self, files: TlsFiles) -> None:
        """Read and check the files. Errors: UnusableCertificate."""
        self._files = files
        self._version = files.version()
        self._initial = files.read()

    def for_port(self) -> grpc.ServerCredentials:
        """Return what a port of gRPC takes."""
        return grpc.dynamic_ssl_server_credentials(
            self._initial,
            self._replaced,  # pyright: ignore[reportArgumentType]  # None is documented: no change
            require_client_authentication=bool(self._files.client_ca),
        )

    def _replaced(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what new files say; None when there are none, or they cannot be used. gRPC asks before every handshake."""
        version = self._files.version()
        if version == self._version:
            return None
        self._version = version  # whether good or bad: a broken file is logged once, and not at every connection
        try:
            configuration = self._files.read()
        except UnusableCertificate as error:
            log.error("tls_files_refused", problem=str(error), serving="the certificate from before")
            return None
        log.info("tls_files_replaced", **self._files.present)
        return configuration


def credentials_of(settings: Settings) -> RotatingCredentials | None:
    """Return the credentials that the settings ask for; None: plaintext. Errors: UnusableCertificate."""
    files = TlsFiles(settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file)
    for name in ("tls_certificate_file", "tls_key_file"):
        if files.present and name not in files.present:
            raise UnusableCertificate(f"{name}: needed, for {next(iter(files.present))} is set")
    return RotatingCredentials(files) if files.present else None


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _content(name: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read()
        if name != "tls_key_file":
            # gRPC would start with a bad file, and only say that a handshake failed
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise UnusableCertificate(f"{name}: {path}: no certificate in PEM form") from error
    except OSError as error:
        raise UnusableCertificate(f"{name}: {path}: {error.strerror or error}") from error
    return content
