"""What every kernel maker offers. All makers give the same results, bit for bit.

A maker touches every weight; it knows nothing of rules, requests or files. Weights are handed over once (`load`), stay where
the maker wants them (host or device), and come back as bytes (`payload`).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ellq_math.sums import Array
from ellq_math.values import Counts, Cut, FixedPoints, Histogram, PoolUnits, RowStatistics, Tails

POOL_BYTES_A_WEIGHT = 2
"""Most memory that any maker's `kth_largest` takes for each weight of its pool, in bytes."""


class DeviceLost(RuntimeError):
    """The device computes no more in this process: only a new one can go on."""


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

    @property
    def mantissa_bits(self) -> int:
        """Most stored mantissa bits that any weight uses: those of the dtype, fewer for keys (see Kernels.weigh)."""
        ...


class Kernels(Protocol):
    """A maker. Stateless and safe to call from several threads with different weights.

    Weights that are handed in are those that this maker's `load` and `weigh` returned: Any, because no other Weights will do.
    Every operation may raise MemoryError, after which its weights are not to be relied on, and DeviceLost.
    """

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
        """Most memory beside the weights themselves that any operation takes, in bytes for each weight.

        `kth_largest` takes at most POOL_BYTES_A_WEIGHT for each weight of the pool. Keys take 8 bytes for each weight of their
        own as long as they are held. `lasso` takes up to 128 bytes for each fan-in and thread instead, little beside the
        matrices. What does not grow with the weights, some MiB a thread, is not counted.
        """
        ...

    def load(self, payload: bytearray | memoryview, *, dtype: str, neurons: int, fan_in: int) -> Weights:
        """Take over a writable buffer of little-endian weights in neuron-major order; it may be changed in place."""
        ...

    def payload(self, weights: Any) -> memoryview:
        """Return the bytes of the weights as they are now, in the order of `load`."""
        ...

    def first_nonfinite(self, weights: Any) -> int | None:
        """Return the flat index of the first NaN or infinity, None when all weights are finite."""
        ...

    def measure(self, weights: Any, orders: tuple[float, ...]) -> RowStatistics:
        """Return the statistics of every neuron from one pass.

        Of a neuron with NaN or infinity, the largest magnitude is NaN or infinite, and nothing else means anything.
        """
        ...

    def unit_totals(self, weights: Any, fixed: FixedPoints) -> Counts:
        """Return lower bounds of the fixed-point totals: sums of floor instead of ceil. One FixedPoint for each neuron.

        Shape: (neurons,) int64.
        """
        ...

    def keep_largest(self, weights: Any, kept: Counts, *, width: int) -> Cut:
        """Return the cut that keeps the `kept` largest magnitudes of every group.

        `kept`: (neurons, groups) with width <= fan_in, 0 <= kept <= group length.
        """
        ...

    def keep_within(self, weights: Any, budgets: Counts, fixed: FixedPoints) -> Cut:
        """Return the cut that removes the most weights, smallest first, whose units add up to at most the budget.

        One budget and FixedPoint for each neuron. Zeros cost nothing.
        """
        ...

    def histogram(self, weights: Any, *, level: int, prefix: int, units: PoolUnits | None) -> Histogram:
        """Return the histogram of digit `level` over the magnitudes that start with `prefix` (ellq_math.pools.DIGITS)."""
        ...

    def kth_largest(self, pool: Sequence[Any], kept: int) -> tuple[float, int]:
        """Return the magnitude of the kept-th largest of all weights of a pool, and how many equal to it are among the kept.

        Infinity and 0 when nothing is kept. The weights may have several dtypes. Errors: ValueError unless kept is from 0 to
        the number of weights, and the pool is not empty.
        """
        ...

    def cut_at(self, weights: Any, *, threshold: float, ties_kept: int) -> tuple[Cut, int]:
        """Return the cut of every neuron for one threshold over all weights, and the ties kept here.

        The first `ties_kept` weights equal to the threshold stay, in neuron-major order across all neurons; fewer when there
        are fewer. Shape of the cut: (neurons, 1).
        """
        ...

    def apply(self, weights: Any, cut: Cut, *, keys: Any = None) -> Tails:
        """Set what the cut removes to +0.0 in place and return what was removed. Kept weights keep their bits (-0.0 too).

        With `keys`, of the same neurons and fan-in, the cut is one of keys: a weight goes where its key goes. What is returned
        is what was removed from the weights; `tails` of the keys tells what that costs.
        """
        ...

    def tails(self, weights: Any, cut: Cut) -> Tails:
        """Return what `apply` would, and change nothing."""
        ...

    def weigh(self, weights: Any, rows: Array, columns: Array) -> Weights:
        """Return keys to choose the weights by: |w_ij| rows[i] columns[i // (neurons / groups), j], rounded up.

        Defined, to the bit, by ellq_math.network.weighing.weigh. Keys are weights of dtype F64 in every other operation, with
        the same neurons and fan-in and fewer mantissa bits. Weights must be finite; they do not change.

        Shape: rows (neurons,), columns (groups, fan_in), finite and at least 0. Errors: ValueError, naming the neuron, when a
        key overflows.
        """
        ...

    def difference(self, before: Any, after: Any) -> Tails:
        """Return what a change removed: |before - after| in place of the magnitudes cut, and the zeros of `after`.

        Exact where `after` is zero or unchanged, so after a cut it has the bits of what `apply` returned, and after
        `clear_neurons` the whole rows count. Elsewhere each difference is rounded to nearest and moved to the next double
        above: certificates of these tails need no further care. F64 differences that overflow are infinite, and so are then
        the sums. Both must have the same dtype, neurons and fan-in and be finite; neither changes.
        """
        ...

    def clear_neurons(self, weights: Any, dead: npt.NDArray[np.bool_]) -> None:
        """Set the rows of dead neurons to +0.0 in place; `difference` tells what that removed. Shape: (neurons,) bool."""
        ...

    def lasso(self, weights: Any, matrices: Array, *, epsilon: float) -> Counts:
        """Replace every neuron w by the first v of its LASSO path, refitted, that loses little, and return how many are left.

        In place. sqrt((w - v)' S (w - v)) <= epsilon sqrt(w' S w) is proved for the v that is stored, S being the matrix of
        the neuron's group, i // (neurons / groups). Defined, to the bit, by ellq_math.lasso.lasso: zeros become +0.0, weights
        whose S_jj is 0 too, and a neuron for which nothing sparser is found keeps the bits of its other weights. Weights must
        be finite.

        Shape: matrices (groups, fan_in, fan_in), symmetric but for rounding, |S_ij| <= 2 sqrt(S_ii S_jj); 0 < epsilon < 1
        -> (neurons,) weights that are not zero now. Errors: ValueError for other matrices, except asymmetric ones.
        """
        ...
