"""What a report says of packed files, held against them."""

from collections.abc import Sequence
from pathlib import Path

from ellq_client.errors import ClaimRefuted, SourceError
from ellq_client.packing.entropies import PackedSizes, together
from ellq_client.packing.reading import PackedCheckpoint, open_checkpoint
from ellq_client.report import Report
from ellq_client.verifying.claims import Claims

_UNPACKED = "how large the output was as packed: it is not packed any more"
_RELATIVE_ERROR = 2.0**-40
"""Far above that of an entropy, which is a sum of at most some thousand logarithms of doubles."""


def check_packed(paths: Sequence[Path], told: Report | None) -> tuple[str, ...]:
    """Check the digests of packed files, which are one output, and what the report says of their sizes.

    Returns what cannot be checked. Errors: ClaimRefuted, SourceError.
    """
    found = sizes_of(paths)
    if told is None:
        return ()
    claimed = None if told.output is None else told.output.packed
    Claims().equal("request.encoding", told.request.encoding, "dense" if claimed is None else "packed")
    if claimed is None:
        return ()  # nothing is said of sizes when something dense was packed afterwards
    if found is None:
        return (_UNPACKED,)
    Claims().equal("output.packed.logical_bytes", claimed.logical_bytes, found.logical_bytes)
    Claims().equal("output.packed.stored_bytes", claimed.stored_bytes, found.stored_bytes)
    if abs(claimed.limit_bytes - found.limit_bytes) > len(paths) + found.limit_bytes * _RELATIVE_ERROR:
        raise ClaimRefuted("output.packed.limit_bytes", claimed=claimed.limit_bytes, found=found.limit_bytes)
    return ()


def sizes_of(paths: Sequence[Path]) -> PackedSizes | None:
    """Return the sizes of packed files, all of which is read; None when they are dense. Errors: SourceError."""
    sizes: list[PackedSizes] = []
    for path in paths:
        with open_checkpoint(path) as checkpoint:
            if isinstance(checkpoint, PackedCheckpoint):
                sizes.append(checkpoint.sizes())
    if sizes and len(sizes) < len(paths):
        raise SourceError(f"{len(sizes)} of {len(paths)} shards are packed, the others dense: {paths[0].parent}")
    return together(sizes) if sizes else None
