"""Many rows have the results of each row alone."""

import numpy as np

from ellq_math.blocks import BLOCK_ROWS
from ellq_math.bounds import tail_bound
from ellq_math.certificates import certify_neurons
from ellq_math.indices import pq_index, sparsity_index
from ellq_math.measuring import measure, tails

ROWS = 2 * BLOCK_ROWS + 3


def test_rows_beyond_a_block_are_rows_like_any_other():
    magnitudes = np.abs(np.random.default_rng(0).normal(0.0, 0.02, (ROWS, 3)))
    magnitudes[::7] = 0.0
    stats = measure(magnitudes, (0.5, 1.0, 2.0), scale=True)
    kept = np.arange(ROWS) % 4
    found = tails(magnitudes, magnitudes < 0.01, scale=True)
    everything = [
        sparsity_index(stats, q=0.5, ignore_zeros=True),
        pq_index(stats, p=0.5, q=2.0, ignore_zeros=False),
        tail_bound(stats, kept, q=0.5, p=1.0),
        certify_neurons(found, fan_in=3).tail_l1,
        certify_neurons(found, fan_in=3).tail_l2,
    ]
    for first in (0, BLOCK_ROWS - 2, 2 * BLOCK_ROWS - 2, ROWS - 5):
        some = slice(first, first + 5)
        alone = [
            sparsity_index(stats[some], q=0.5, ignore_zeros=True),
            pq_index(stats[some], p=0.5, q=2.0, ignore_zeros=False),
            tail_bound(stats[some], kept[some], q=0.5, p=1.0),
            certify_neurons(tails(magnitudes[some], magnitudes[some] < 0.01, scale=True), fan_in=3).tail_l1,
            certify_neurons(tails(magnitudes[some], magnitudes[some] < 0.01, scale=True), fan_in=3).tail_l2,
        ]
        for all_of_them, own in zip(everything, alone, strict=True):
            assert all_of_them.shape == (ROWS,)
            assert all_of_them[some].tobytes() == own.tobytes()
