"""From cuts to marks: where in each group the ties end that stay."""

from typing import Any

import torch
import triton.language as tl

from ellq_kernels.reference.arithmetic import FLOATS
from ellq_kernels.triton.jit import kernel, launch
from ellq_kernels.triton.layout import lay_out, next_power_of_two, spans_of
from ellq_kernels.triton.reading import key_of, place
from ellq_kernels.triton.weights import Marks, TritonWeights
from ellq_math.values import Cut

BLOCK = 2048
"""Most weights that a program looks at in one step."""


def marks_of(weights: TritonWeights, cut: Cut) -> Marks:
    """Return the marks of a cut of these weights: those remembered, or found by one more pass."""
    remembered = weights.choice.recall(cut)
    if remembered is not None:
        return remembered
    above, ties = _keys_above(cut, weights.dtype, weights.device)
    width = min(next_power_of_two(cut.width), BLOCK)
    layout = lay_out(spans_of([weights], [cut.width]), per_tile=BLOCK // width, device=weights.device)
    end = torch.empty(layout.stretches, dtype=torch.int64, device=weights.device)
    launch(
        mark_groups, (len(layout.tiles),),
        weights.bits, layout.tiles, above, ties, end,
        DTYPE=weights.dtype, ROWS=layout.per_tile, WIDTH=width, ALIGNMENT=layout.alignment,
    )  # fmt: skip
    return Marks(above=above, end=end)


def _keys_above(cut: Cut, dtype: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least keys that stay whatever the ties, and the ties that stay. Shape: both (groups,) int64.

    A threshold may be any double. One that the dtype lacks has no ties. Rounding to the dtype (through single precision, in
    two steps) ends at one of its two neighbours, and `below` tells which.
    """
    threshold = torch.tensor(cut.threshold, device=device).flatten()
    rounded = threshold.to(FLOATS[dtype])
    below, exact = rounded.double() < threshold, rounded.double() == threshold
    signed = {2: torch.int16, 4: torch.int32, 8: torch.int64}[rounded.element_size()]
    above = rounded.view(signed).long() + (below | exact)
    return above, torch.where(exact, torch.tensor(cut.ties_kept, device=device).flatten(), 0)


@kernel
def mark_groups(
    weights: tl.tensor, tiles: tl.tensor, above: tl.tensor, ties: tl.tensor, ends: tl.tensor,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, ALIGNMENT: tl.constexpr,
) -> None:  # fmt: skip
    """Find the end of the ties of a tile of groups."""
    start, _, length, group, _ = place(tiles, ROWS, ALIGNMENT)
    threshold = tl.load(above + group, mask=length > 0, other=0) - 1
    staying = tl.load(ties + group, mask=length > 0, other=0)
    found = end_of_ties(weights, start, length, threshold, staying, DTYPE, ROWS, WIDTH)
    tl.store(ends + group, found, mask=length > 0)


@kernel
def end_of_ties(
    weights: tl.tensor, start: tl.tensor, length: tl.tensor, threshold: tl.tensor, staying: tl.tensor,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
) -> Any:  # fmt: skip
    """Return the place behind the last of the first `staying` ties of each group, WIDTH weights a step. Shape: (ROWS,)."""
    seen, before = tl.zeros([ROWS], tl.int64), tl.zeros([ROWS], tl.int64)
    longest = tl.max(tl.where(staying > 0, length, 0), axis=0)
    for at in range(0, longest, WIDTH):
        offset = tl.arange(0, WIDTH) + at
        inside = offset[None, :] < length[:, None]
        key = key_of(tl.load(weights + (start[:, None] + offset[None, :]), mask=inside, other=0), DTYPE)
        tie = (inside & (key == threshold[:, None])).to(tl.int32)
        running = seen[:, None] + tl.cumsum(tie, axis=1)
        before += tl.sum((inside & (running < staying[:, None])).to(tl.int32), axis=1)
        seen += tl.sum(tie, axis=1)
    return tl.where(staying > 0, before + 1, 0)
