"""The GPU maker: weights live on the device, and every operation that rules need often is a Triton kernel."""

import subprocess
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from triton import knobs
from triton.runtime import driver

from ellq_kernels.demands import (
    demand_alike,
    demand_counts,
    demand_cut,
    demand_one_each,
    demand_rank,
    weight_bits,
)
from ellq_kernels.ranks import kth_by_digits
from ellq_kernels.reference.device_errors import on_a_device
from ellq_kernels.reference.maker import ReferenceKernels
from ellq_kernels.triton.counting import cut_at, first_nonfinite, unit_totals
from ellq_kernels.triton.cutting import cut_many
from ellq_kernels.triton.histograms import histogram
from ellq_kernels.triton.measuring import measure_many
from ellq_kernels.triton.selecting import keep_largest_many, keep_within
from ellq_kernels.triton.staging import Staging
from ellq_kernels.triton.weights import TritonWeights
from ellq_math.sums import Array
from ellq_math.values import Counts, Cut, FixedPoints, Histogram, PoolUnits, RowStatistics, Tails


@on_a_device
class TritonKernels:
    """ellq_kernels.contract.Kernels on a CUDA device; where Triton interprets (TRITON_INTERPRET=1), slowly on the CPU.

    Beside the contract, and for who uses kernels without the service, `measure_many`, `keep_largest_many` and `apply_many` take
    lists of tensors of one dtype, so that small ones do not starve the device; the service makes rows of small tensors into one
    matrix before any maker sees them. What rules need rarely (keys, differences, dead neurons, LASSO) is the reference maker's.
    """

    name = "triton"

    def __init__(self) -> None:
        interpreted = bool(knobs.runtime.interpret)
        if not interpreted and not torch.cuda.is_available():
            raise RuntimeError("triton kernels need a CUDA device, and torch sees none")
        if not interpreted:
            _demand_driver()
        self.device = "cpu" if interpreted else "cuda"
        self._reference = ReferenceKernels(device=self.device)
        self._staging = Staging()

    @property
    def scratch_bytes_a_weight(self) -> int:
        """What the reference maker's operations take. Our own take 48 for each group of a cut: little for whole rows."""
        return self._reference.scratch_bytes_a_weight

    def load(self, payload: bytearray | memoryview, *, dtype: str, neurons: int, fan_in: int) -> TritonWeights:
        """Copy to the device through pinned memory; interpreted, share the buffer."""
        raw = weight_bits(payload, dtype=dtype, neurons=neurons, fan_in=fan_in)
        bits = torch.from_numpy(raw.view(f"i{raw.itemsize}"))
        if self.device == "cuda":
            host, bits = bits, torch.empty_like(bits, device=self.device)
            self._staging.upload(host.view(torch.uint8), bits.view(torch.uint8))
        return TritonWeights(dtype=dtype, neurons=neurons, fan_in=fan_in, bits=bits.view(neurons, fan_in))

    def payload(self, weights: TritonWeights) -> memoryview:
        """Copy from the device through pinned memory; interpreted, share the buffer."""
        held = weights.bits.flatten().view(torch.uint8)
        if self.device == "cuda":
            held, device = torch.empty(len(held), dtype=torch.uint8), held
            self._staging.download(device, held)
        return held.numpy().data

    def first_nonfinite(self, weights: TritonWeights) -> int | None:
        """Look in every chunk."""
        return first_nonfinite(weights)

    def measure(self, weights: TritonWeights, orders: tuple[float, ...]) -> RowStatistics:
        """Measure a list of one."""
        return self.measure_many([weights], orders)[0]

    def measure_many(self, weights: Sequence[TritonWeights], orders: tuple[float, ...]) -> list[RowStatistics]:
        """Return the statistics of tensors of one dtype, each as `measure` does."""
        _demand_one_dtype(weights)
        return measure_many(weights, orders)

    def unit_totals(self, weights: TritonWeights, fixed: FixedPoints) -> Counts:
        """Round down and add."""
        demand_one_each(weights, len(fixed))
        return unit_totals(weights, fixed)

    def keep_largest(self, weights: TritonWeights, kept: Counts, *, width: int) -> Cut:
        """Choose from a list of one."""
        return self.keep_largest_many([weights], [kept], [width])[0]

    def keep_largest_many(self, weights: Sequence[TritonWeights], kept: Sequence[Counts], widths: Sequence[int]) -> list[Cut]:
        """Return the cut of each tensor, all of one dtype; counts and widths as for `keep_largest`."""
        _demand_one_dtype(weights)
        for one, counts, width in zip(weights, kept, widths, strict=True):
            demand_counts(one, counts, width=width)
        return keep_largest_many(weights, kept, widths)

    def keep_within(self, weights: TritonWeights, budgets: Counts, fixed: FixedPoints) -> Cut:
        """Bisect for the threshold whose smaller weights fit."""
        demand_one_each(weights, len(budgets), len(fixed))
        return keep_within(weights, budgets, fixed)

    def histogram(self, weights: TritonWeights, *, level: int, prefix: int, units: PoolUnits | None) -> Histogram:
        """Count all keys of 16 bits, digits of any others."""
        return histogram(weights, level=level, prefix=prefix, units=units)

    def kth_largest(self, pool: Sequence[TritonWeights], kept: int) -> tuple[float, int]:
        """Search digit by digit."""
        demand_rank(pool, kept)
        return kth_by_digits(self, pool, kept)

    def cut_at(self, weights: TritonWeights, *, threshold: float, ties_kept: int) -> tuple[Cut, int]:
        """Compare, count, and share out the ties."""
        return cut_at(weights, threshold=threshold, ties_kept=ties_kept)

    def apply(self, weights: TritonWeights, cut: Cut, *, keys: TritonWeights | None = None) -> Tails:
        """Cut a list of one."""
        return self.apply_many([weights], [cut], keys=None if keys is None else [keys])[0]

    def apply_many(
        self, weights: Sequence[TritonWeights], cuts: Sequence[Cut], *, keys: Sequence[TritonWeights] | None = None
    ) -> list[Tails]:
        """Cut each tensor, all of one dtype, and return what was removed."""
        choosers = weights if keys is None else keys
        found = self._cut(weights, cuts, choosers, write=True)
        for one, chooser, cut in zip(weights, choosers, cuts, strict=True):
            if one is not chooser or one.choice.recall(cut) is None:  # a cut of the same weights holds after itself
                one.choice.forget()
        return found

    def tails(self, weights: TritonWeights, cut: Cut) -> Tails:
        """Do the same and write nothing."""
        return self._cut([weights], [cut], [weights], write=False)[0]

    def weigh(self, weights: TritonWeights, rows: Array, columns: Array) -> TritonWeights:
        """Leave it to the reference maker."""
        keys = self._reference.weigh(weights, rows, columns)
        return TritonWeights(keys.dtype, keys.neurons, keys.fan_in, keys.bits.contiguous(), are_keys=True)

    def difference(self, before: TritonWeights, after: TritonWeights) -> Tails:
        """Leave it to the reference maker."""
        return self._reference.difference(before, after)

    def clear_neurons(self, weights: TritonWeights, dead: npt.NDArray[np.bool_]) -> None:
        """Leave it to the reference maker."""
        self._reference.clear_neurons(weights, dead)
        weights.choice.forget()

    def lasso(self, weights: TritonWeights, matrices: Array, *, epsilon: float) -> Counts:
        """Leave it to the reference maker, which follows the definition on the host."""
        kept = self._reference.lasso(weights, matrices, epsilon=epsilon)
        weights.choice.forget()
        return kept

    def _cut(
        self, weights: Sequence[TritonWeights], cuts: Sequence[Cut], keys: Sequence[TritonWeights], *, write: bool
    ) -> list[Tails]:
        _demand_one_dtype(weights)
        _demand_one_dtype(keys)
        for one, chooser, cut in zip(weights, keys, cuts, strict=True):
            demand_alike(one, chooser)
            demand_cut(one, cut)
        return cut_many(weights, cuts, keys, write=write)


def _demand_driver() -> None:
    """Let Triton bind the driver of the device now, at start: it compiles some C for that, once, into its cache.

    Raises RuntimeError where it cannot.
    """
    try:
        _ = driver.active
    except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as error:
        wanted = "a C compiler, the headers of Python, libcuda.so.1 and a writable TRITON_CACHE_DIR"
        raise RuntimeError(f"triton kernels need {wanted}: {type(error).__name__}: {error}") from error


def _demand_one_dtype(weights: Sequence[TritonWeights]) -> None:
    """Raise ValueError unless there are weights, of one dtype."""
    found = sorted({one.dtype for one in weights})
    if len(found) != 1:
        raise ValueError(f"weights of {', '.join(found) or 'no'} dtypes given: a launch serves one")
