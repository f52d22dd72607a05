"""Upper bounds of the spectral norm of a convolution, as a map between whole images."""

from collections.abc import Sequence
from math import ceil, cos, pi, prod

import numpy as np
import numpy.typing as npt

from ellq_math.interruption import end_if_unwanted
from ellq_math.network.groups import Norm
from ellq_math.network.layer_gains import conv_gains, phase_counts, phases
from ellq_math.network.nodes import Conv
from ellq_math.network.topology import Step
from ellq_math.spectral import frobenius_bound, gram_bound, gram_work, scaled_down, scaled_up, spectral_norm_bound
from ellq_math.sums import UNIT_ROUNDOFF, Array, round_up

Whole = npt.NDArray[np.int64]

GRID = 16
"""Samples of a symbol for each tap beyond the first, on tori too large to sample in full: 1 % of the norm an axis."""

SYMBOL_WORK = 6 * 10**11
"""Multiply-adds for all frequencies, beyond which symbols are left out: 256 x 256 channels and 3 x 3 taps are within."""

TURN_WORK = 400
"""Multiply-adds of a large product that one sine and cosine take as long as: their angle is found and reduced, too. 3.4 to
4.6 x 10^-8 s were measured (2026-11-23, processor time, at 10^-10 s for a multiply-add)."""

BLOCK = 1 << 19
"""Entries of symbols and angles that are held at once, several times over."""


def conv_norm_bound(kernel: Array, step: Step) -> float:
    """Return at least the norm of the zero-padded, strided, dilated, grouped convolution, without bias.

    Shape: (out, in / groups, kernel...) float64, finite. The least of three: the norm of the matrix of gains between channels
    (Schur's test bounds the map from one channel to another); the norm of the kernel's rows times the root of how many windows
    share a position; the largest norm of the symbol. Groups of channels do not mix, so the largest of theirs counts.

    y[q] = sum_t K[t] x[s q + d t] is a convolution without stride, of the s phases of its input: with d t = s a + r the tap t
    looks at position q + a of phase r. The taps i + p j, p = s / gcd(s, d), all look at one phase, at positions d / gcd(s, d)
    apart: so its part of the symbol is that of the taps j side by side, at another frequency of the torus, turned as a whole.
    """
    operation, shape = step.node.operation, step.input_shapes[0]
    if not isinstance(operation, Conv) or shape is None:
        raise TypeError(f"node {step.node.name!r} is no convolution of a known shape")
    groups = operation.groups
    split = phases(operation, kernel)
    out, fan_in, count, *taps = split.shape
    rows = _largest_norm(kernel.reshape(groups, out // groups, -1))
    return min(
        _largest_norm(conv_gains(operation, kernel, Norm.L2).reshape(groups, -1, fan_in)),
        float(round_up(np.array(rows * prod(taps) ** 0.5), roundings=2)),
        symbol_norm_bound(split.reshape(groups, out // groups, fan_in * count, *taps), _torus(operation, shape)),
    )


def symbol_work(step: Step, shape: tuple[int, ...]) -> int:
    """Return the work of the norm of a convolution's symbol, in multiply-adds that take as long; `shape` is the kernel's."""
    operation, taken = step.node.operation, step.input_shapes[0]
    if not isinstance(operation, Conv) or taken is None:
        return 0
    out, fan_in, *lengths = shape
    counts = phase_counts(operation, lengths)
    taps = (ceil(length / count) for length, count in zip(lengths, counts, strict=True))
    split = (operation.groups, out // operation.groups, fan_in * prod(counts), *taps)
    return _work(split, _torus(operation, taken))


def symbol_norm_bound(kernel: Array, lengths: Sequence[int]) -> float:
    """Return at least the norm of convolutions without stride or dilation, on inputs of the given lengths after padding.

    Shape: (..., out, in, kernel...). The largest of several. Infinity where that is more work than SYMBOL_WORK.
    The convolution is a part of the circular one on a torus of these lengths: no window that fits wraps around. The norm of
    the circular one is the largest norm of its symbol K(f) = sum_t K[t] exp(2 pi i f.t) at the frequencies of the torus.
    On long axes a coarser grid of g frequencies stands for all: |u* K(f) v|^2 is a real trigonometric polynomial of degree
    k - 1, so from its maximum to the next frequency of the grid it falls to no less than cos(pi (k - 1) / g) of it (M. Riesz).
    """
    if _work(kernel.shape, lengths) > SYMBOL_WORK:
        return np.inf
    matrices, taps = kernel.shape[: -len(lengths)], kernel.shape[-len(lengths) :]
    grid = _grid(lengths, taps)
    falls = prod(cos(pi * (k - 1) / g) for n, k, g in zip(lengths, taps, grid, strict=True) if g < n)
    flat, exponent = scaled_down(kernel.reshape(-1, prod(taps)))
    half = _frequencies(grid)
    block = max(1, BLOCK // sum(flat.shape))
    largest = 0.0
    for start in range(0, prod(half), block):
        end_if_unwanted()
        frequencies = np.array(np.unravel_index(np.arange(start, min(start + block, prod(half))), half))
        symbols = _as_real(*(part.reshape(-1, *matrices) for part in _symbols(flat, frequencies, grid, taps)))
        largest = max(largest, float(gram_bound(symbols).max()))
    magnitudes = np.abs(flat).sum(axis=-1).reshape(matrices)
    rounding = 2 * (flat.shape[-1] + 40) * UNIT_ROUNDOFF * float(frobenius_bound(magnitudes).max())
    bound = round_up(np.array((largest + rounding) / falls**0.5), roundings=8 + 4 * len(taps))
    return scaled_up(float(bound), exponent)


def _largest_norm(matrices: Array) -> float:
    """Return at least the largest spectral norm. Shape: (count, m, n)."""
    if len(matrices) == 1:
        return spectral_norm_bound(matrices[0])
    scaled, exponents = scaled_down(matrices)
    bounds = frobenius_bound(scaled)
    if min(matrices.shape[1:]) > 1:
        bounds = np.fmin(bounds, gram_bound(scaled))
    with np.errstate(over="ignore", under="ignore"):
        return float(np.where(bounds > 0, np.nextafter(np.ldexp(bounds, exponents), np.inf), 0.0).max())


def _torus(conv: Conv, shape: tuple[int, ...]) -> list[int]:
    """Return the lengths of the phases of an input."""
    sides = (sum(conv.padding[2 * axis : 2 * axis + 2]) for axis in range(len(conv.stride)))
    return [ceil((n + side) / s) for n, side, s in zip(shape[1:], sides, conv.stride, strict=True)]


def _grid(lengths: Sequence[int], taps: Sequence[int]) -> tuple[int, ...]:
    """Return how many frequencies stand for all, along each axis."""
    return tuple(min(n, max(1, GRID * (k - 1))) for n, k in zip(lengths, taps, strict=True))


def _frequencies(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths of the part of a grid that stands for all of it: f and -f have equal norms."""
    return (grid[0] // 2 + 1, *grid[1:])


def _work(shape: Sequence[int], lengths: Sequence[int]) -> int:
    """Return the work of the norm of the symbol of a kernel (..., out, in, kernel...), in multiply-adds that take as long."""
    *lead, out, fan_in = shape[: -len(lengths)]
    taps = shape[-len(lengths) :]
    matrices = prod(lead) * (2 * out * fan_in * prod(taps) + gram_work(2 * out, 2 * fan_in))
    return prod(_frequencies(_grid(lengths, taps))) * (matrices + TURN_WORK * prod(taps))


def _symbols(flat: Array, frequencies: Whole, grid: tuple[int, ...], taps: tuple[int, ...]) -> tuple[Array, Array]:
    """Return real and imaginary parts of the symbols of all pairs of channels.

    Shape: (pairs, taps), (axes, frequencies) -> (frequencies, pairs) each.
    Turns are reduced in whole numbers, so an angle is off by 31 u at most, its cosine and sine by one unit more.
    """
    places = np.indices(taps).reshape(len(taps), -1)
    lengths = np.array(grid)[:, np.newaxis, np.newaxis]
    turns = ((frequencies[:, :, np.newaxis] * places[:, np.newaxis, :]) % lengths / lengths).sum(axis=0)
    angles = 2 * np.pi * (turns % 1.0)
    return np.cos(angles) @ flat.T, np.sin(angles) @ flat.T


def _as_real(real: Array, imaginary: Array) -> Array:
    """Return real matrices with the spectral norms of complex ones. Shape: (count, m, n) each -> (count, 2 m, 2 n)."""
    return np.block([[real, -imaginary], [imaginary, real]])
