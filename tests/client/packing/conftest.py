"""Packing in memory."""

from pathlib import Path

from ellq_client.packing.packer import Packer


def packed(dense: bytes, *, piece_bytes: int = 1 << 20) -> bytes:
    """Return the packed form of a dense file, handed over in pieces of this size."""
    header_bytes = 8 + int.from_bytes(dense[:8], "little")
    packer = Packer(dense[:header_bytes], name="dense")
    pieces = [packer.opening]
    for start in range(header_bytes, len(dense), piece_bytes):
        pieces += packer.take(dense[start : start + piece_bytes])
    pieces += packer.finish()
    header = packer.header()
    assert len(header) == len(packer.opening)
    whole = header + b"".join(pieces[1:])
    assert packer.sizes().stored_bytes == len(whole)
    assert packer.sizes().logical_bytes == len(dense)
    return whole


def write_packed(path: Path, dense: bytes) -> Path:
    path.write_bytes(packed(dense))
    return path
