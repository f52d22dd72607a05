"""Shares of whole numbers, exactly, of millions at once: Python's own integers would come one by one."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ellq_math.blocks import in_blocks
from ellq_math.values import Counts

LIMB_BITS = 31
"""Two products of limbs and what is carried add up to less than 2^64."""

Limbs = npt.NDArray[np.uint64]

LIMB = (1 << LIMB_BITS) - 1
"""As a mask, it leaves the lowest limb of a number."""


@in_blocks
def whole_shares(totals: Counts, *, share: Fraction) -> Counts:
    """Return floor(share total) of every total, 0 <= total < 2^62. Shape: (rows,) -> the same, int64.

    `share` is from 0 to 1 and has a power of two for its denominator, as all doubles and their squares have.
    """
    low, high = (totals & LIMB).astype(np.uint64), (totals >> LIMB_BITS).astype(np.uint64)
    dropped = share.denominator.bit_length() - 1
    found: Limbs = np.zeros_like(low)
    carried: Limbs = np.zeros_like(low)
    numerator, before, shift = share.numerator, 0, -dropped
    while numerator or before or carried.any():  # schoolbook, one limb of the product after the other
        limb = numerator & LIMB
        carried = carried + low * np.uint64(limb) + high * np.uint64(before)
        found |= _moved(carried & np.uint64(LIMB), shift)
        carried = carried >> np.uint64(LIMB_BITS)
        numerator, before, shift = numerator >> LIMB_BITS, limb, shift + LIMB_BITS
    return found.astype(np.int64)


def _moved(limb: Limbs, shift: int) -> Limbs:
    """Return a limb of the product where it belongs in the result, without what is dropped."""
    if shift <= -LIMB_BITS:
        return np.zeros_like(limb)
    return limb << np.uint64(shift) if shift >= 0 else limb >> np.uint64(-shift)
