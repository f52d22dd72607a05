"""The reference maker: whole matrices as float64 tensors, selection by sorting."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ellq_kernels.cuts import row_cuts
from ellq_kernels.demands import (
    demand_alike,
    demand_counts,
    demand_cut,
    demand_dead,
    demand_factors,
    demand_matrices,
    demand_one_dtype,
    demand_one_each,
    demand_rank,
    weight_bits,
)
from ellq_kernels.ranks import kth_by_digits
from ellq_kernels.reference.arithmetic import FLOATS, above, canonical_sum, on_device, pool_units_of, power, scaled
from ellq_kernels.reference.device_errors import on_a_device
from ellq_kernels.reference.weights import ReferenceWeights
from ellq_kernels.scaling import UnitScale, scale_down, scale_exponents, unit_scale
from ellq_math.lasso import lasso
from ellq_math.network.weighing import DROPPED_BITS, demand_finite_keys
from ellq_math.pools import DIGITS, following_bits, histogram_of
from ellq_math.sums import Array
from ellq_math.values import Counts, Cut, FixedPoints, Histogram, PoolUnits, RowStatistics, Tails


@on_a_device
class ReferenceKernels:
    """ellq_kernels.contract.Kernels in torch, on "cpu" or "cuda"."""

    name = "reference"

    def __init__(self, *, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("reference-cuda kernels need a CUDA device, and torch sees none")
        self.device = device

    @property
    def scratch_bytes_a_weight(self) -> int:
        """Room for selection keys and passing arrays."""
        return 96

    def load(self, payload: bytearray | memoryview, *, dtype: str, neurons: int, fan_in: int) -> ReferenceWeights:
        """Share the buffer on the CPU, copy it to a CUDA device."""
        raw = weight_bits(payload, dtype=dtype, neurons=neurons, fan_in=fan_in)
        bits = torch.from_numpy(raw.view(f"i{raw.itemsize}")).to(self.device)
        return ReferenceWeights(dtype=dtype, neurons=neurons, fan_in=fan_in, bits=bits.view(neurons, fan_in))

    def payload(self, weights: ReferenceWeights) -> memoryview:
        """Share the tensor's memory on the CPU, copy from a CUDA device."""
        return weights.bits.flatten().cpu().numpy().data.cast("B")

    def first_nonfinite(self, weights: ReferenceWeights) -> int | None:
        """Look for the first flat index."""
        found = (~weights.magnitudes().isfinite()).flatten().nonzero()
        return int(found[0]) if len(found) else None

    def measure(self, weights: ReferenceWeights, orders: tuple[float, ...]) -> RowStatistics:
        """Raise and sum every order in turn."""
        magnitudes = weights.magnitudes()
        largest = _to_numpy(magnitudes.amax(dim=1))
        exponents = scale_exponents(largest, weights.dtype)
        terms = scaled(magnitudes.where(magnitudes.isfinite(), 0.0), scale_down(exponents))  # powers are of finite numbers
        sums = [_to_numpy(canonical_sum(power(terms, order))) for order in orders]
        return RowStatistics(
            orders=orders,
            sums=np.stack(sums, axis=1) if sums else np.zeros((weights.neurons, 0)),
            exponents=exponents,
            max_magnitude=largest,
            zeros=_to_numpy((magnitudes == 0).sum(dim=1)),
            fan_in=weights.fan_in,
        )

    def unit_totals(self, weights: ReferenceWeights, fixed: FixedPoints) -> Counts:
        """Round down and add."""
        demand_one_each(weights, len(fixed))
        units = _units(weights.magnitudes(), unit_scale(fixed, weights.dtype, upper=False))
        return _to_numpy(units.floor().long().sum(dim=1))

    def keep_largest(self, weights: ReferenceWeights, kept: Counts, *, width: int) -> Cut:
        """Sort every group."""
        demand_counts(weights, kept, width=width)
        descending = _grouped(weights.magnitudes(), width).sort(dim=-1, descending=True).values
        stays = on_device(kept, weights.bits)[..., None]
        last = descending.gather(-1, (stays - 1).clamp(min=0))
        threshold = torch.where(stays > 0, last, torch.inf)
        ties = stays[..., 0] - (descending > threshold).sum(dim=-1)
        return Cut(
            threshold=_to_numpy(threshold[..., 0]), ties_kept=_to_numpy(ties), kept=np.array(kept, np.int64), width=width
        )

    def keep_within(self, weights: ReferenceWeights, budgets: Counts, fixed: FixedPoints) -> Cut:
        """Sort every row and add up units until the budget is spent."""
        demand_one_each(weights, len(budgets), len(fixed))
        rows = weights.magnitudes().sort(dim=1).values
        spent = _units_up(rows, unit_scale(fixed, weights.dtype, upper=True)).cumsum(dim=1)
        removed = (spent <= on_device(budgets, weights.bits)[:, None]).sum(dim=1, keepdim=True)
        return self.keep_largest(weights, _to_numpy(rows.shape[1] - removed), width=rows.shape[1])

    def histogram(self, weights: ReferenceWeights, *, level: int, prefix: int, units: PoolUnits | None) -> Histogram:
        """Count the digits of the magnitudes behind the prefix."""
        patterns = weights.magnitudes().view(torch.int64).flatten()
        bins = 2 ** DIGITS[level]
        leading = patterns >> following_bits(level)
        inside = leading >> DIGITS[level] == prefix
        digits = leading[inside] & (bins - 1)
        counts = _to_numpy(digits.bincount(minlength=bins))
        if units is None:
            return Histogram(weights=counts, units=None, lower_total=None)
        upper, lower = (
            _to_numpy(one.new_zeros(bins).index_add(0, digits, one)) for one in pool_units_of(patterns[inside], units)
        )
        return histogram_of(counts, upper, lower, level=level, p=units.p)

    def kth_largest(self, pool: Sequence[ReferenceWeights], kept: int) -> tuple[float, int]:
        """Search digit by digit."""
        demand_rank(pool, kept)
        return kth_by_digits(self, pool, kept)

    def cut_at(self, weights: ReferenceWeights, *, threshold: float, ties_kept: int) -> tuple[Cut, int]:
        """Compare, count, and share out the ties."""
        magnitudes = weights.magnitudes()
        above, equal = ((magnitudes > threshold).sum(dim=1), (magnitudes == threshold).sum(dim=1))
        return row_cuts(_to_numpy(above), _to_numpy(equal), threshold=threshold, ties_kept=ties_kept, width=weights.fan_in)

    def apply(self, weights: ReferenceWeights, cut: Cut, *, keys: ReferenceWeights | None = None) -> Tails:
        """Find what goes, measure it, erase it."""
        demand_alike(weights, weights if keys is None else keys)
        demand_cut(weights, cut)
        goes = _goes(weights if keys is None else keys, cut)
        tails = _tails_of(weights, torch.where(goes, weights.magnitudes(), 0.0), goes | (weights.magnitudes() == 0))
        weights.bits[goes] = 0
        return tails

    def tails(self, weights: ReferenceWeights, cut: Cut) -> Tails:
        """Find what goes and measure it."""
        demand_cut(weights, cut)
        goes = _goes(weights, cut)
        return _tails_of(weights, torch.where(goes, weights.magnitudes(), 0.0), goes | (weights.magnitudes() == 0))

    def weigh(self, weights: ReferenceWeights, rows: Array, columns: Array) -> ReferenceWeights:
        """Multiply whole matrices."""
        rows, columns = demand_factors(weights, rows, columns)
        magnitudes, down = weights.magnitudes(), on_device(rows, weights.bits)[:, None]
        across = on_device(columns, weights.bits).repeat_interleave(weights.neurons // len(columns), dim=0)
        low = (1 << DROPPED_BITS) - 1
        patterns = (above(above(magnitudes * down) * across).view(torch.int64) + low) & ~low
        patterns[(magnitudes == 0) | (down == 0) | (across == 0)] = 0
        keys = ReferenceWeights("F64", weights.neurons, weights.fan_in, patterns, are_keys=True)
        demand_finite_keys(self.first_nonfinite(keys), fan_in=weights.fan_in)
        return keys

    def difference(self, before: ReferenceWeights, after: ReferenceWeights) -> Tails:
        """Subtract whole matrices."""
        demand_alike(before, after)
        demand_one_dtype(before, after)
        gaps, zero = (before.values() - after.values()).abs(), after.values() == 0
        return _tails_of(before, torch.where(zero | (gaps == 0), gaps, above(gaps)), zero)

    def clear_neurons(self, weights: ReferenceWeights, dead: npt.NDArray[np.bool_]) -> None:
        """Assign."""
        demand_dead(weights, dead)
        weights.bits[torch.tensor(dead, device=self.device)] = 0

    def lasso(self, weights: ReferenceWeights, matrices: Array, *, epsilon: float) -> Counts:
        """Follow the definition on the host, one neuron after the other."""
        matrices = demand_matrices(weights, matrices, epsilon=epsilon)
        values = _to_numpy(weights.values())
        neurons_each = weights.neurons // len(matrices)
        fitted = np.stack(
            [
                lasso(row, matrices[neuron // neurons_each], epsilon=epsilon, dtype=weights.dtype)
                for neuron, row in enumerate(values)
            ]
        )
        changed = on_device(fitted, weights.bits).to(FLOATS[weights.dtype])  # exact: all are rounded already
        weights.bits.copy_(changed.view(weights.bits.dtype))
        return _to_numpy((changed != 0).sum(dim=1))


def _goes(keys: ReferenceWeights, cut: Cut) -> torch.Tensor:
    """Return what a cut removes, numbering the ties of every group to tell those that stay. Shape: (neurons, fan_in) bool."""
    groups = _grouped(keys.magnitudes(), cut.width)
    threshold = on_device(cut.threshold, keys.bits)[..., None]
    ties = groups == threshold
    early = ties.cumsum(dim=-1) <= on_device(cut.ties_kept, keys.bits)[..., None]
    goes = ~((groups > threshold) | (ties & early))
    return goes.view(keys.neurons, -1)[:, : keys.fan_in]


def _tails_of(weights: ReferenceWeights, gone: torch.Tensor, zero: torch.Tensor) -> Tails:
    """Return the tails of what has gone; `zero` is true where a weight is zero afterwards. Shape: both (neurons, fan_in)."""
    exponents = scale_exponents(_to_numpy(gone.amax(dim=1)), weights.dtype)
    gone = scaled(gone, scale_down(exponents))
    return Tails(
        l1=_to_numpy(canonical_sum(gone)),
        l2_squared=_to_numpy(canonical_sum(gone * gone)),
        exponents=exponents,
        zeros=_to_numpy(zero.sum(dim=1)),
    )


def _units(magnitudes: torch.Tensor, scale: UnitScale) -> torch.Tensor:
    """Return the fixed-point shares of rows before they are rounded to integers. Shape: (rows, n) -> the same."""
    first, second = (on_device(part, magnitudes)[:, None] for part in (scale.first, scale.second))
    x = magnitudes * first * second
    return (x if scale.p == 1 else x * x * scale.slack) * scale.resolution


def _units_up(magnitudes: torch.Tensor, scale: UnitScale) -> torch.Tensor:
    """Return the units of rows, rounded up; nothing but zero is free. Shape: (rows, n) -> the same, int64."""
    return torch.where(magnitudes == 0, 0, _units(magnitudes, scale).ceil().long().clamp(min=1))


def _grouped(magnitudes: torch.Tensor, width: int) -> torch.Tensor:
    """Return the groups of all rows. A short last group is padded with -1, which is below every threshold.

    Shape: (neurons, fan_in) -> (neurons, groups, width).
    """
    return torch.nn.functional.pad(magnitudes, (0, -magnitudes.shape[1] % width), value=-1.0).unflatten(1, (-1, width))


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
