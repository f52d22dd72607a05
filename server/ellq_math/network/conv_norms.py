"""Upper bounds of the spectral norm of a convolution, as a map between whole images."""

from math import ceil, cos, pi, prod

import numpy as np
import numpy.typing as npt

from ellq_math.network.groups import Norm, channels
from ellq_math.network.layer_gains import layer_gains, tap_classes
from ellq_math.network.nodes import Conv
from ellq_math.network.spectral import frobenius_bound, gram_bound, scaled_down, scaled_up, spectral_norm_bound
from ellq_math.network.topology import Step
from ellq_math.sums import UNIT_ROUNDOFF, Array, canonical_sum, round_up

Whole = npt.NDArray[np.int64]

GRID = 16
"""Samples of a symbol for each tap beyond the first, on tori too large to sample in full: 1 % of the norm an axis."""

SYMBOL_WORK = 1 << 34
"""Multiplications of a Gram step over all frequencies, beyond which symbols are left out."""

BLOCK = 1 << 21
"""Entries of symbols that are held at once."""


def conv_norm_bound(kernel: Array, step: Step) -> float:
    """Return at least the norm of the zero-padded, strided, dilated, grouped convolution, without bias.

    Shape: (out, in / groups, kernel...) float64, finite. The least of three: the norm of the matrix of gains between channels
    (Schur's test bounds the map from one channel to another); the norm of the kernel's rows times the root of how many windows
    share a position; the largest norm of the symbol. Groups of channels do not mix, so the largest of theirs counts.
    """
    operation, shape = step.node.operation, step.input_shapes[0]
    if not isinstance(operation, Conv) or shape is None:
        raise TypeError(f"node {step.node.name!r} is no convolution of a known shape")
    padding = operation.padding
    lengths = [n + padding[2 * axis] + padding[2 * axis + 1] for axis, n in enumerate(shape[1:])]
    shared = max(len(taps) for taps in tap_classes(kernel.shape[2:], operation.stride, operation.dilation))
    parts = np.split(kernel, operation.groups)
    rows = max(spectral_norm_bound(part.reshape(len(part), -1)) for part in parts)
    return min(
        spectral_norm_bound(layer_gains(step, kernel, channels(shape), Norm.L2)),
        float(round_up(np.array(rows * shared**0.5), roundings=2)),
        max(_phased_norm(part, operation, lengths) for part in parts),
    )


def symbol_norm_bound(kernel: Array, lengths: list[int]) -> float:
    """Return at least the norm of a convolution without stride or dilation, on inputs of the given lengths after padding.

    The convolution is a part of the circular one on a torus of these lengths: no window that fits wraps around. The norm of
    the circular one is the largest norm of its symbol K(f) = sum_t K[t] exp(2 pi i f.t) at the frequencies of the torus.
    On long axes a coarser grid of g frequencies stands for all: |u* K(f) v|^2 is a real trigonometric polynomial of degree
    k - 1, so from its maximum to the next frequency of the grid it falls to no less than cos(pi (k - 1) / g) of it (M. Riesz).
    Infinity where that is more work than SYMBOL_WORK.
    """
    out, fan_in, *taps = kernel.shape
    grid = tuple(min(n, max(1, GRID * (k - 1))) for n, k in zip(lengths, taps, strict=True))
    frequencies = _frequencies(grid)
    if len(frequencies) * out * fan_in * min(out, fan_in) > SYMBOL_WORK:
        return np.inf
    falls = prod(cos(pi * (k - 1) / g) for n, k, g in zip(lengths, taps, grid, strict=True) if g < n)
    flat, exponent = scaled_down(kernel.reshape(out * fan_in, -1))
    block = max(1, BLOCK // (out * fan_in))
    largest = 0.0
    for start in range(0, len(frequencies), block):
        parts = _symbols(flat, frequencies[start : start + block], grid, tuple(taps))
        symbols = _as_real(*(part.reshape(-1, out, fan_in) for part in parts))
        largest = max(largest, float(gram_bound(symbols).max()))
    magnitudes = canonical_sum(np.abs(flat)).reshape(out, fan_in)
    rounding = 2 * (flat.shape[-1] + 40) * UNIT_ROUNDOFF * float(frobenius_bound(magnitudes))
    bound = round_up(np.array((largest + rounding) / falls**0.5), roundings=8 + 4 * len(taps))
    return scaled_up(float(bound), exponent)


def _phased_norm(kernel: Array, operation: Conv, lengths: list[int]) -> float:
    """Return at least the norm of one group: a convolution with stride s is one without, of the s phases of its input.

    y[q] = sum_t K[t] x[s q + d t]; with d t = s a + r the tap t looks at position q + a of phase r.
    """
    if prod(operation.stride) > 1:
        for axis, (stride, spacing) in enumerate(zip(operation.stride, operation.dilation, strict=True)):
            kernel = _phases(_spaced(kernel, axis + 2, spacing), axis + 2, stride)
    return symbol_norm_bound(kernel, [ceil(n / s) for n, s in zip(lengths, operation.stride, strict=True)])


def _spaced(kernel: Array, axis: int, spacing: int) -> Array:
    """Return the kernel with spacing - 1 zeros between its taps along an axis."""
    spaced = np.zeros([(n - 1) * spacing + 1 if other == axis else n for other, n in enumerate(kernel.shape)])
    spaced[(slice(None),) * axis + (slice(None, None, spacing),)] = kernel
    return spaced


def _phases(kernel: Array, axis: int, stride: int) -> Array:
    """Return the kernel with an axis split into (taps of a phase, phases), the phases moved behind the input channels."""
    taps = ceil(kernel.shape[axis] / stride)
    widths = [(0, taps * stride - n if other == axis else 0) for other, n in enumerate(kernel.shape)]
    split = np.pad(kernel, widths).reshape(*kernel.shape[:axis], taps, stride, *kernel.shape[axis + 1 :])
    out, fan_in, *rest = np.moveaxis(split, axis + 1, 2).shape
    return np.moveaxis(split, axis + 1, 2).reshape(out, fan_in * rest[0], *rest[1:])


def _frequencies(grid: tuple[int, ...]) -> Whole:
    """Return a grid's frequencies, but not both f and -f, where symbols have equal norms. Shape: (count, axes)."""
    axes = [np.arange(grid[0] // 2 + 1), *(np.arange(n) for n in grid[1:])]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(grid))


def _symbols(flat: Array, frequencies: Whole, grid: tuple[int, ...], taps: tuple[int, ...]) -> tuple[Array, Array]:
    """Return real and imaginary parts of the symbols of all pairs of channels.

    Shape: (pairs, taps) -> (frequencies, pairs) each.
    Turns are reduced in whole numbers, so an angle is off by 31 u at most, its cosine and sine by one unit more.
    """
    places = np.indices(taps).reshape(len(taps), -1)
    lengths = np.array(grid)[:, np.newaxis, np.newaxis]
    turns = ((frequencies.T[:, :, np.newaxis] * places[:, np.newaxis, :]) % lengths / lengths).sum(axis=0)
    angles = 2 * np.pi * (turns % 1.0)
    return np.cos(angles) @ flat.T, np.sin(angles) @ flat.T


def _as_real(real: Array, imaginary: Array) -> Array:
    """Return real matrices with the spectral norms of complex ones. Shape: (count, m, n) each -> (count, 2 m, 2 n)."""
    return np.block([[real, -imaginary], [imaginary, real]])
