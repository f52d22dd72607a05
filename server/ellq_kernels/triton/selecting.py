"""The cuts that keep the largest weights, chosen on the device."""

from collections.abc import Sequence

import numpy as np
import torch

from ellq_kernels.triton.choosing import choose_in_registers
from ellq_kernels.triton.jit import NO_FUSION
from ellq_kernels.triton.layout import Layout, lay_out, next_power_of_two, spans_of
from ellq_kernels.triton.long_rows import choose_long
from ellq_kernels.triton.measuring import magnitudes_of
from ellq_kernels.triton.reading import infinity_key
from ellq_kernels.triton.units import unit_scales
from ellq_kernels.triton.weights import Marks, TritonWeights
from ellq_math.values import Counts, Cut, FixedPoints

RESIDENT = 2**14
"""Longest group that stays in registers: 512 threads hold 32 keys each."""

RESIDENT_WIDE = 2**13
"""The same where 8 bytes go with each weight: keys of F64, or units."""

LONG_STEP = 2**12
"""Weights of a longer group that are read in one step."""

LEAST_TILE = 2**11
"""Weights that a program takes at least, in many groups if these are short."""


def keep_largest_many(weights: Sequence[TritonWeights], kept: Sequence[Counts], widths: Sequence[int]) -> list[Cut]:
    """Return the cut of each tensor; all of one dtype. A launch serves those whose groups fill the same power of two."""
    buckets: dict[int, list[int]] = {}
    for index, width in enumerate(widths):
        buckets.setdefault(next_power_of_two(width), []).append(index)
    found: dict[int, Cut] = {}
    for bucket in buckets.values():
        counts = np.concatenate([np.asarray(kept[index], np.int64).ravel() for index in bucket])
        chosen = torch.from_numpy(counts).to(weights[0].device)
        cuts = _choose([weights[index] for index in bucket], [widths[index] for index in bucket], chosen)
        found.update(zip(bucket, cuts, strict=True))
    return [found[index] for index in range(len(weights))]


def keep_within(weights: TritonWeights, budgets: Counts, fixed: FixedPoints) -> Cut:
    """Return the cut that removes the most weights within the budget of each row."""
    scales = unit_scales(fixed, weights.dtype, upper=True, device=weights.device)
    paid = torch.tensor(budgets, dtype=torch.int64, device=weights.device)
    return _choose([weights], [weights.fan_in], paid, scales=scales)[0]


def _choose(
    weights: Sequence[TritonWeights], widths: Sequence[int], wanted: torch.Tensor, *, scales: torch.Tensor | None = None
) -> list[Cut]:
    """Return the cuts for counts, or for budgets of units where there are scales. Shape: wanted (groups,) int64."""
    first, padded, within = weights[0], next_power_of_two(max(widths)), scales is not None
    resident = padded <= (RESIDENT_WIDE if within or first.dtype == "F64" else RESIDENT)
    layout = lay_out(spans_of(weights, widths), per_tile=max(LEAST_TILE // padded, 1) if resident else 1, device=first.device)
    kept, thresholds, ties, ends = (torch.empty_like(wanted) for _ in range(4))
    choose = choose_in_registers if resident else choose_long
    choose[(len(layout.tiles),)](
        first.bits, layout.tiles, wanted, scales if within else wanted, kept, thresholds, ties, ends, layout.rows,
        DTYPE=first.dtype, ROWS=layout.per_tile, WIDTH=padded if resident else LONG_STEP, WITHIN=within,
        ALIGNMENT=layout.alignment, NOTHING=infinity_key(first.dtype),
        num_warps=max(4, min(16, padded // 1024)), **NO_FUSION,
    )  # fmt: skip
    return _cuts(weights, layout, kept, Marks(above=thresholds + 1, end=ends), ties)


def _cuts(weights: Sequence[TritonWeights], layout: Layout, kept: torch.Tensor, marks: Marks, ties: torch.Tensor) -> list[Cut]:
    """Share out what was found, and let each tensor remember its own."""
    magnitudes = magnitudes_of(marks.above - 1, weights[0].dtype)
    on_host, ties_on_host = kept.cpu().numpy(), ties.cpu().numpy()
    cuts, first = [], 0
    for one, span in zip(weights, layout.spans, strict=True):
        mine, shape = slice(first, first + span.stretches), (span.neurons, span.stretches_a_row)
        cut = Cut(
            threshold=magnitudes[mine].reshape(shape),
            ties_kept=ties_on_host[mine].reshape(shape),
            kept=on_host[mine].reshape(shape),
            width=span.width,
        )
        one.choice.remember(cut, Marks(above=marks.above[mine], end=marks.end[mine]))
        cuts.append(cut)
        first += span.stretches
    return cuts
