"""The arithmetic of ellq_math.powers and ellq_math.sums, restated in torch: one plain operation at a time, nothing fused."""

import numpy as np
import torch

from ellq_kernels.scaling import Scale
from ellq_math.pool_units import INEXACT_BITS
from ellq_math.powers import LOWEST_EXPONENT, TABLE_BITS, power_table
from ellq_math.sums import CHUNK, LANES, Array
from ellq_math.values import Counts, PoolUnits

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

INFINITY = 2047 << 52
"""Bits of infinity."""


def decode(bits: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return float64 magnitudes of raw bits; NaN and infinity come out as such. Shape: any -> the same."""
    return bits.view(FLOATS[dtype]).double().abs()


def above(values: torch.Tensor) -> torch.Tensor:
    """Return the next doubles above non-negative ones; infinity stays. Shape: any -> the same."""
    return (values.view(torch.int64) + 1).clamp(max=INFINITY).view(torch.float64)


def on_device(values: Array | Counts, like: torch.Tensor) -> torch.Tensor:
    """Return a copy of a numpy array beside another tensor."""
    return torch.tensor(values, device=like.device)


def scaled(magnitudes: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Return the rows of (rows, ...) times their 2^-exponent."""
    shape = (-1, *(1 for _ in magnitudes.shape[1:]))
    return magnitudes * on_device(scale.first, magnitudes).view(shape) * on_device(scale.second, magnitudes).view(shape)


def power(magnitude: torch.Tensor, order: float) -> torch.Tensor:
    """Return magnitude^order with the bits of ellq_math.powers.power. Shape: any -> the same, float64."""
    if order == 1.0:
        return magnitude.clone()
    if order == 2.0:
        return magnitude * magnitude
    if order == 0.5:
        return square_root(magnitude)
    table = power_table(order)
    subnormal = magnitude < 2.0**-1022
    bits = torch.where(subnormal, magnitude * 2.0**54, magnitude).view(torch.int64)
    exponent = (bits >> 52) - 1023 - 54 * subnormal
    interval = (bits >> (52 - TABLE_BITS)) & (2**TABLE_BITS - 1)
    mantissa = ((bits & (2**52 - 1)) | (1023 << 52)).view(torch.float64)
    centre = 1.0 + (interval + 0.5) / 2**TABLE_BITS
    r = (mantissa - centre) * on_device(table.inverse_centres, magnitude)[interval]
    first, second, third, fourth = table.series
    series = r * (first + r * (second + r * (third + r * fourth)))
    near = on_device(table.centres, magnitude)[interval]
    found = (near + near * series) * on_device(table.exponents, magnitude)[
        exponent.clamp(min=LOWEST_EXPONENT) - LOWEST_EXPONENT
    ]
    return torch.where(magnitude == 0, 0.0, found)


def pool_units_of(patterns: torch.Tensor, units: PoolUnits) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the units of bit patterns, rounded up and down (ellq_math.pool_units.units_of). Shape: any -> twice the same."""
    x = ((patterns & (2**52 - 1)) | (1022 << 52)).view(torch.float64)
    above = below = torch.where(patterns < 2**52, x - 0.5, x)
    if units.p == 2:
        inexact = torch.where((patterns & INEXACT_BITS) != 0, 2.0**-52, 0.0).double()
        square = above * above
        above, below = square * (1.0 + inexact), square * (1.0 - inexact)
    upper = (above * 2.0**units.bits).ceil().long().clamp(min=1)
    return torch.where(patterns == 0, 0, upper), (below * 2.0**units.bits).floor().long()


def square_root(values: torch.Tensor) -> torch.Tensor:
    """Return correctly rounded roots. On the CPU torch leaves them to MKL, whose last bits differ; CUDA rounds as IEEE asks."""
    return values.sqrt() if values.is_cuda else torch.from_numpy(np.sqrt(values.numpy()))


def canonical_sum(terms: torch.Tensor) -> torch.Tensor:
    """Return the sum over the last axis with the bits of ellq_math.sums.canonical_sum. Shape: (..., n) -> (...), n >= 1."""
    while True:
        terms = _fold_chunks(terms)
        if terms.shape[-1] == 1:
            return terms[..., 0]


def _fold_chunks(terms: torch.Tensor) -> torch.Tensor:
    """Return the partial sums of every chunk. Shape: (..., n) -> (..., ceil(n / CHUNK))."""
    count = terms.shape[-1]
    length = min(CHUNK, -(-count // LANES) * LANES)
    padded = torch.nn.functional.pad(terms, (0, -count % length))
    steps = padded.unflatten(-1, (-1, length // LANES, LANES))
    lanes = steps[..., 0, :]
    for step in range(1, steps.shape[-2]):
        lanes = lanes + steps[..., step, :]
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]
