"""What is certified about a cut, from what was measured on the weights themselves. Rounded outward, never below the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ellq_math.blocks import in_blocks
from ellq_math.indices import power_sum
from ellq_math.pooling import common_exponent
from ellq_math.sums import Array, canonical_sum, round_up, sum_roundings
from ellq_math.values import Counts, RowStatistics, Tails

SCALE_ROUNDINGS = 1
"""Scaling loses terms below 2^-1074 of a sum of at least 2^-298 (F32 squares): together far less than one rounding."""

SQUARE_ROUNDINGS = 1
"""Squares of F64 weights are rounded; those of shorter formats are exact."""


@dataclass(frozen=True)
class SquaredNorm:
    """A sum of squares, kept apart from its scale so that no double overflows: the norm is sqrt(square) 2^exponent."""

    square: float
    exponent: int
    roundings: int
    """How many roundings any term of `square` has met."""
    replaced: bool
    """Whether new values took the place of weights: how far they lie from the old ones may exceed the norm of all of these."""


@dataclass(frozen=True)
class NeuronCertificate:
    """Upper bounds of what was cut from each neuron, both (neurons,) float64."""

    tail_l1: Array
    """l_1 norm: no output moves by more than B times this when every input is at most B in magnitude."""
    tail_l2: Array
    """l_2 norm: no output moves by more than B times this when the input's l_2 norm is at most B."""

    def __getitem__(self, neurons: slice) -> "NeuronCertificate":
        """Return the bounds of some of the neurons."""
        return NeuronCertificate(self.tail_l1[neurons], self.tail_l2[neurons])


@dataclass(frozen=True)
class LayerCertificate:
    """Upper bounds of what was cut from a tensor W, W' being what is left."""

    tail_l1_max: float
    """||W - W'||_inf."""
    tail_l2_max: float
    """Largest l_2 norm cut from a neuron."""
    frobenius: float
    """||W - W'||_F."""
    frobenius_ratio: float
    """||W - W'||_F / ||W||_F, above 1 only where values were replaced; 0 for a zero tensor."""


@dataclass(frozen=True)
class PooledCertificate:
    """Upper bounds of what was cut from several tensors as one row."""

    frobenius: float
    """Norm of everything cut."""
    frobenius_ratio: float
    """The same over the norm of all their weights; 0 when all are zero."""


def certify_neurons(tails: Tails, *, fan_in: int) -> NeuronCertificate:
    """Return upper bounds for every neuron."""
    roundings = sum_roundings(fan_in) + SCALE_ROUNDINGS
    return NeuronCertificate(
        tail_l1=_l1_up(tails.l1, tails.exponents, roundings=roundings),
        tail_l2=_l2_up(tails.l2_squared, tails.exponents, roundings=roundings + SQUARE_ROUNDINGS + 1),
    )


def certify_layer(tails: Tails, stats: RowStatistics, *, replaced: bool) -> LayerCertificate:
    """Return upper bounds for a tensor; `stats` are of its neurons before the cut and hold order 2."""
    neurons = certify_neurons(tails, fan_in=stats.fan_in)
    return summarise(neurons, cut_norm(tails, fan_in=stats.fan_in, replaced=replaced), whole_norm(stats))


def summarise(neurons: NeuronCertificate, cut: SquaredNorm, whole: SquaredNorm) -> LayerCertificate:
    """Return upper bounds for a tensor from those of its neurons, and its norms."""
    pooled = certify_pool([cut], [whole])
    return LayerCertificate(
        tail_l1_max=float(neurons.tail_l1.max()),
        tail_l2_max=float(neurons.tail_l2.max()),
        frobenius=pooled.frobenius,
        frobenius_ratio=pooled.frobenius_ratio,
    )


def certify_pool(cuts: Sequence[SquaredNorm], wholes: Sequence[SquaredNorm]) -> PooledCertificate:
    """Return upper bounds for tensors, from what was cut from each and what each was; neither is empty, in offset order."""
    cut, whole = _add(cuts), _add(wholes)
    norm = round_up(np.sqrt(np.array([cut.square])), roundings=cut.roundings + 1)
    frobenius = _ldexp_up(norm, np.array([cut.exponent]))
    if whole.square == 0:
        return PooledCertificate(frobenius=float(frobenius[0]), frobenius_ratio=0.0)
    ratio = np.sqrt(np.array([cut.square / whole.square]))  # no overflow: both are in [2^-298, 2^340]
    above = round_up(ratio, roundings=cut.roundings + whole.roundings + 2)
    frobenius_ratio = float(_ldexp_up(above, np.array([cut.exponent - whole.exponent]))[0])
    if not cut.replaced:
        frobenius_ratio = min(frobenius_ratio, 1.0)  # a part is at most the whole
    return PooledCertificate(frobenius=float(frobenius[0]), frobenius_ratio=frobenius_ratio)


def cut_norm(tails: Tails, *, fan_in: int, replaced: bool) -> SquaredNorm:
    """Return the squared Frobenius norm of what was cut from a tensor, or of how far new values lie from what they replaced."""
    roundings = sum_roundings(fan_in) + SCALE_ROUNDINGS + SQUARE_ROUNDINGS
    return _total(tails.l2_squared, tails.exponents, roundings=roundings, replaced=replaced)


def whole_norm(stats: RowStatistics) -> SquaredNorm:
    """Return the squared Frobenius norm of a tensor from the statistics of its neurons."""
    roundings = sum_roundings(stats.fan_in) + SCALE_ROUNDINGS + SQUARE_ROUNDINGS
    return _total(power_sum(stats, 2.0), stats.exponents, roundings=roundings, replaced=False)


def _add(norms: Sequence[SquaredNorm]) -> SquaredNorm:
    if len(norms) == 1:  # of a tensor by itself: what would be added are zeros
        return replace(norms[0], roundings=norms[0].roundings + SCALE_ROUNDINGS + sum_roundings(1))
    squares = np.array([norm.square for norm in norms])
    exponents = np.array([norm.exponent for norm in norms])
    roundings, replaced = max(norm.roundings for norm in norms), any(norm.replaced for norm in norms)
    return _total(squares, exponents, roundings=roundings, replaced=replaced)


def _total(squares: Array, exponents: Counts, *, roundings: int, replaced: bool) -> SquaredNorm:
    """Return the sum of squares of different scales, in canonical order and the largest scale."""
    exponent = common_exponent(exponents, present=squares)
    drop = np.where(squares > 0, 2 * (exponents - exponent), 0)
    scaled = np.ldexp(squares, drop) if drop.any() else squares
    roundings += SCALE_ROUNDINGS + sum_roundings(len(squares))
    return SquaredNorm(square=float(canonical_sum(scaled)), exponent=exponent, roundings=roundings, replaced=replaced)


@in_blocks
def _l1_up(sums: Array, exponents: Counts, *, roundings: int) -> Array:
    return _ldexp_up(round_up(sums, roundings=roundings), exponents)


@in_blocks
def _l2_up(squares: Array, exponents: Counts, *, roundings: int) -> Array:
    return _ldexp_up(round_up(np.sqrt(squares), roundings=roundings), exponents)


def _ldexp_up(values: Array, exponents: Counts) -> Array:
    """Return at least values 2^exponents. Scaling is exact but for subnormal results, which are moved up by one ulp.

    Zero stays zero; infinity, where a double overflows, is a valid upper bound.
    """
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(values, exponents)
    subnormal = (values > 0) & (scaled < 2.0**-1022)
    return np.where(subnormal, np.nextafter(scaled, np.inf), scaled)
