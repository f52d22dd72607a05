"""The cuts that keep the largest weights, chosen on the device."""

from collections.abc import Sequence

import numpy as np
import torch

from ellq_kernels.triton.choosing import choose_in_registers
from ellq_kernels.triton.jit import launch
from ellq_kernels.triton.layout import Layout, lay_out, next_power_of_two, spans_of
from ellq_kernels.triton.long_rows import choose_long
from ellq_kernels.triton.measuring import magnitudes_of
from ellq_kernels.triton.reading import infinity_key
from ellq_kernels.triton.units import unit_scales
from ellq_kernels.triton.weights import Marks, TritonWeights
from ellq_math.values import Counts, Cut, FixedPoints

RESIDENT = 2**14
"""Longest group that stays in registers: 256 threads hold 64 keys each."""

RESIDENT_WIDE = 2**13
"""The same where 8 bytes go with each weight: keys of F64, or units."""

LONG_STEP = 2**12
"""Weights of a longer group that are read in one step."""

LEAST_TILE = 2**11
"""Weights that a program takes at least, in many groups if these are short."""

WARP = 2**11
"""Weights that a warp holds, 64 a thread: each step of a search adds up over threads, which fewer of them do faster."""

MANY_WARPS = 4
"""Warps of a program with many short groups, whose own numbers want registers, too."""

SHORT = 2**8
"""Longest group of such a program."""

MOST_WARPS = 16


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
    wide = within or first.dtype == "F64"
    resident = padded <= (RESIDENT_WIDE if wide else RESIDENT)
    layout = lay_out(spans_of(weights, widths), per_tile=max(LEAST_TILE // padded, 1) if resident else 1, device=first.device)
    found = torch.empty((4, len(wanted)), dtype=torch.int64, device=wanted.device)
    choose = choose_in_registers if resident else choose_long
    launch(
        choose, (len(layout.tiles),),
        first.bits, layout.tiles, wanted, scales if within else wanted, *found, layout.rows,
        DTYPE=first.dtype, ROWS=layout.per_tile, WIDTH=padded if resident else LONG_STEP, WITHIN=within,
        ALIGNMENT=layout.alignment, NOTHING=infinity_key(first.dtype),
        num_warps=warps_of(padded, wide=wide),
    )  # fmt: skip
    return _cuts(weights, layout, found)


def warps_of(padded: int, *, wide: bool) -> int:
    """Return the warps of a program whose groups fill this power of two; `wide` where 8 bytes go with each weight."""
    if padded <= SHORT:
        return MANY_WARPS
    return min(MOST_WARPS, max(padded, LEAST_TILE) // (WARP // 2 if wide else WARP))


def _cuts(weights: Sequence[TritonWeights], layout: Layout, found: torch.Tensor) -> list[Cut]:
    """Share out what was found, and let each tensor remember its own. Shape: found (4, groups): kept, above, ties, ends."""
    above, end = found[1], found[3]
    kept, above_on_host, ties, _ = found.cpu().numpy()  # one transfer: each waits for the device
    magnitudes = magnitudes_of(above_on_host - 1, weights[0].dtype)
    cuts, first = [], 0
    for one, span in zip(weights, layout.spans, strict=True):
        mine, shape = slice(first, first + span.stretches), (span.neurons, span.stretches_a_row)
        cut = Cut(
            threshold=magnitudes[mine].reshape(shape),
            ties_kept=ties[mine].reshape(shape),
            kept=kept[mine].reshape(shape),
            width=span.width,
        )
        one.choice.remember(cut, Marks(above=above[mine], end=end[mine]))
        cuts.append(cut)
        first += span.stretches
    return cuts
