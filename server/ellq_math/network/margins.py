"""How many samples certainly keep their class. A class changes only if the largest output and another change places."""

import numpy as np

from ellq_math.sums import UNIT_ROUNDOFF, Array


def unchanged_share_everywhere(margins: Array, *, error_max: float, error_l2: float) -> float:
    """Return the share of samples that keep their class when at EVERY input errors are at most these. Rounded down.

    Two outputs a and b, with a - b >= margin, change places only if |d_a| + |d_b| >= margin. That sum is at most 2 max_i |d_i|,
    and at most sqrt 2 ||d||_2. Ties count as changed.
    """
    reach = _above(min(2 * error_max, _above(2**0.5 * error_l2)))
    return _share(int(np.count_nonzero(margins > reach)), len(margins))


def unchanged_share_in_mean(margins: Array, *, error_l2: float) -> float:
    """Return the share of samples that keep their class when sqrt(mean ||d||_2^2) over THESE samples is at most error_l2.

    A changed sample has ||d||_2^2 >= margin^2 / 2, so the changed ones have sum margin^2 / 2 <= n error_l2^2: there are never
    more of them than of the smallest margins that fit. Rounded down. Samples of margin 0 count as changed.
    """
    count = len(margins)
    with np.errstate(over="ignore", under="ignore"):
        least = np.sort(margins) ** 2 / 2 * (1 - 4 * UNIT_ROUNDOFF)
        needed = np.cumsum(least) * (1 - 2 * count * UNIT_ROUNDOFF)
        room = count * _above(error_l2 * error_l2)
    changed = int(np.searchsorted(needed, _above(room), side="right"))
    return _share(count - changed, count)


def _above(value: float) -> float:
    """Return the next number: at least the truth of a value that was rounded once, twice for good measure."""
    return float(np.nextafter(np.nextafter(value, np.inf), np.inf))


def _share(kept: int, count: int) -> float:
    """Return kept / count, rounded down."""
    if kept == count:
        return 1.0
    return max(0.0, float(np.nextafter(kept / count, -np.inf)))
