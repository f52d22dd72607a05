"""The one thing that must hold with or without a report: nothing but zeros in place of weights."""

import numpy as np

from ellq_client.checkpoint import Checkpoint
from ellq_client.errors import ClaimRefuted
from ellq_client.headers import StoredTensor
from ellq_client.verifying.matrices import bits_of, is_compressible


def compare_zeros(
    tensor: StoredTensor, before: Checkpoint, after: Checkpoint, *, refitted: bool = False, untouched: bool = False
) -> int:
    """Return how many weights of a tensor became zero. Errors: ClaimRefuted when anything else became of one.

    Weights that were zero do not count, whatever became of their sign. `refitted` weights may have any other value, too, and a
    tensor that is `untouched`, because others rest on it, must have kept every byte.
    """
    compressible = is_compressible(tensor) and not untouched
    cut = place = 0
    pieces = zip(before.pieces(tensor.begin, tensor.end), after.pieces(tensor.begin, tensor.end), strict=True)
    for old, new in pieces:
        if old == new:
            place += len(old)
            continue
        if not compressible:
            raise ClaimRefuted("bytes", claimed="untouched", found="changed", tensor=tensor.name)
        kind = bits_of(tensor.dtype)
        was, now = np.frombuffer(old, kind), np.frombuffer(new, kind)
        changed = was != now
        wrong = changed & (now != 0)
        if wrong.any() and not refitted:
            where = place // was.itemsize + int(wrong.argmax())
            at = [int(axis) for axis in np.unravel_index(where, tensor.shape)]
            swapped = not was[wrong].any()  # weights where the original has zeros: the other way round it would hold
            raise ClaimRefuted(
                f"weight {at}",
                claimed="that of the original, or +0.0",
                found="another one",
                tensor=tensor.name,
                likely="the two files may be swapped" if swapped else None,
            )
        magnitude_bits = was & kind(np.iinfo(kind).max >> 1)
        cut += int((changed & (now == 0) & (magnitude_bits != 0)).sum())
        place += len(old)
    return cut
