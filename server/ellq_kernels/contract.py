"""What every kernel maker offers. All makers give the same results, bit for bit.

A maker touches every weight; it knows nothing of rules, requests or files. Weights are handed over once (`load`), stay where
the maker wants them (host or device), and come back as bytes (`payload`).
"""

from typing import Any, Protocol

from ellq_math.values import Counts, Cut, FixedPoint, Histogram, PoolUnits, RowStatistics, Tails


class Weights(Protocol):
    """A weight matrix in a maker's hands: `neurons` rows of `fan_in` weights."""

    @property
    def dtype(self) -> str:
        """Name in ellq_math.dtypes.WEIGHT_DTYPES."""
        ...

    @property
    def neurons(self) -> int:
        """Rows, at least 1."""
        ...

    @property
    def fan_in(self) -> int:
        """Weights of each row, at least 1."""
        ...


class Kernels(Protocol):
    """A maker. Stateless and safe to call from several threads with different weights."""

    @property
    def name(self) -> str:
        """Name of the maker: "cpu", "reference", ..."""
        ...

    @property
    def device(self) -> str:
        """Where it computes: "cpu" or "cuda"."""
        ...

    @property
    def scratch_bytes_a_weight(self) -> int:
        """Most memory beside the weights themselves that any operation takes, in bytes for each weight."""
        ...

    def load(self, payload: bytearray | memoryview, *, dtype: str, neurons: int, fan_in: int) -> Any:
        """Take over a writable buffer of little-endian weights in neuron-major order; it may be changed in place."""
        ...

    def payload(self, weights: Any) -> memoryview:
        """Return the bytes of the weights as they are now, in the order of `load`."""
        ...

    def first_nonfinite(self, weights: Any) -> int | None:
        """Return the flat index of the first NaN or infinity, None when all weights are finite."""
        ...

    def measure(self, weights: Any, orders: tuple[float, ...]) -> RowStatistics:
        """Return the statistics of every neuron from one pass; weights must be finite."""
        ...

    def unit_totals(self, weights: Any, fixed: tuple[FixedPoint, ...]) -> Counts:
        """Return lower bounds of the fixed-point totals: sums of floor instead of ceil. One FixedPoint for each neuron.

        Shape: (neurons,) int64.
        """
        ...

    def keep_largest(self, weights: Any, kept: Counts, *, width: int) -> Cut:
        """Return the cut that keeps the `kept` largest magnitudes of every group.

        `kept`: (neurons, groups) with width <= fan_in, 0 <= kept <= group length.
        """
        ...

    def keep_within(self, weights: Any, budgets: Counts, fixed: tuple[FixedPoint, ...]) -> Cut:
        """Return the cut that removes the most weights, smallest first, whose units add up to at most the budget.

        One budget and FixedPoint for each neuron. Zeros cost nothing.
        """
        ...

    def histogram(self, weights: Any, *, level: int, prefix: int, units: PoolUnits | None) -> Histogram:
        """Return the histogram of digit `level` over the magnitudes that start with `prefix` (ellq_math.pools.DIGITS)."""
        ...

    def cut_at(self, weights: Any, *, threshold: float, ties_kept: int) -> tuple[Cut, int]:
        """Return the cut of every neuron for one threshold over all weights, and the ties kept here.

        The first `ties_kept` weights equal to the threshold stay, in neuron-major order across all neurons; fewer when there
        are fewer. Shape of the cut: (neurons, 1).
        """
        ...

    def apply(self, weights: Any, cut: Cut) -> Tails:
        """Set what the cut removes to +0.0 in place and return what was removed. Kept weights keep their bits (-0.0 too)."""
        ...
