"""Fixed-point units inside kernels, with the bits of ellq_math.measuring.fixed_units and ellq_math.pool_units."""

from typing import Any

import numpy as np
import torch
import triton.language as tl

from ellq_kernels.scaling import unit_scale
from ellq_kernels.triton.jit import kernel
from ellq_math.pool_units import INEXACT_BITS
from ellq_math.values import FixedPoints

INEXACT = tl.constexpr(INEXACT_BITS)


def unit_scales(fixed: FixedPoints, dtype: str, *, upper: bool, device: torch.device) -> torch.Tensor:
    """Return ellq_kernels.scaling.UnitScale as rows of a table. Shape: (5, neurons) float64.

    Its scalars too: a float that is handed to a kernel arrives as float32.
    """
    rows = np.broadcast_arrays(*unit_scale(fixed, dtype, upper=upper))
    return torch.from_numpy(np.stack(rows).astype(np.float64)).to(device)


@kernel
def shares_of(x: tl.tensor, scales: tl.tensor, rows: tl.tensor, row: tl.tensor, valid: tl.tensor) -> Any:
    """Return the fixed-point shares of magnitudes, not yet integers. Shape: x (ROWS, n); row, valid (ROWS,)."""
    rows = rows.to(tl.int64)  # four times as many may be more than an int32 holds
    p, first = tl.load(scales + row, mask=valid, other=1.0), tl.load(scales + rows + row, mask=valid, other=0.0)
    second = tl.load(scales + rows * 2 + row, mask=valid, other=0.0)
    resolution = tl.load(scales + rows * 3 + row, mask=valid, other=0.0)
    slack = tl.load(scales + rows * 4 + row, mask=valid, other=0.0)
    x = x * first[:, None] * second[:, None]
    return tl.where(p[:, None] == 1.0, x, x * x * slack[:, None]) * resolution[:, None]


@kernel
def units_up(x: tl.tensor, shares: tl.tensor) -> Any:
    """Return shares rounded up to int64; nothing but zero is free."""
    return tl.where(x == 0.0, 0, tl.maximum(tl.ceil(shares).to(tl.int64), 1))


@kernel
def pool_units_of(pattern: tl.tensor, resolution: tl.tensor, P: tl.constexpr) -> Any:
    """Return the units of float64 patterns on their own scales, rounded up and rounded down; `resolution` is 2^bits."""
    x = ((pattern & ((1 << 52) - 1)) | (1022 << 52)).to(tl.float64, bitcast=True)
    above = tl.where(pattern < (1 << 52), x - 0.5, x)
    below = above
    if P == 2:
        inexact = tl.where((pattern & INEXACT) != 0, 2.220446049250313e-16, 0.0).to(tl.float64)  # 2^-52
        square = above * above
        above, below = square * (inexact + 1.0), square * (1.0 - inexact)
    upper = tl.maximum(tl.ceil(above * resolution).to(tl.int64), 1)
    return tl.where(pattern == 0, 0, upper), (below * resolution).to(tl.int64)
