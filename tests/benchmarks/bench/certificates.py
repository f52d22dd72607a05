"""A certificate for the loopback address, vouched for by an authority of its own."""

from pathlib import Path

import trustme

from tests.benchmarks.bench.servers import Certificate


def make_certificate(folder: Path) -> Certificate:
    """Write key, certificate and authority into the folder."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    key, certificate, ca = (folder / name for name in ("key.pem", "certificate.pem", "ca.pem"))
    issued.private_key_pem.write_to_path(str(key))
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(str(ca))
    return Certificate(key, certificate, ca)
