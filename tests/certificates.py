"""Certificates made for one test run, as files."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its private key."""

    certificate: Path
    key: Path


class Authority:
    """An authority of its own, and what it signs, in one directory."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self._directory = directory
        self.file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    def pair(self, name: str, *names: str, expired: bool = False) -> Pair:
        """Write a certificate for the names; `name` is that of the files."""
        begin, end = LONG_AGO if expired else (None, None)
        issued = self._authority.issue_cert(*names or ("127.0.0.1",), not_before=begin, not_after=end)
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        issued.private_key_pem.write_to_path(str(pair.key))
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return pair
