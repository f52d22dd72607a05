"""One threshold over all weights, as a cut of every neuron."""

import numpy as np

from ellq_math.values import Counts, Cut


def row_cuts(above: Counts, equal: Counts, *, threshold: float, ties_kept: int, width: int) -> tuple[Cut, int]:
    """Return the cut of every row and the ties kept in all: the first `ties_kept` of them, in row order.

    `above` and `equal`, shape (neurons,): how many weights of each row are above the threshold, and how many equal it.
    """
    before = equal.cumsum() - equal
    ties = np.clip(ties_kept - before, 0, equal)
    cut = Cut(
        threshold=np.full((len(equal), 1), threshold),
        ties_kept=ties[:, np.newaxis],
        kept=(above + ties)[:, np.newaxis],
        width=width,
    )
    return cut, int(ties.sum())
