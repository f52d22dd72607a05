"""Mask, pack and certificate sums in one pass: read a weight once, write it once, add up what has gone on the way."""

# Triton's loops and constants have no types that fit their uses.
# pyright: reportGeneralTypeIssues=false, reportArgumentType=false, reportAssignmentType=false

import math
from collections.abc import Sequence

import numpy as np
import torch
import triton.language as tl

from ellq_kernels.scaling import scale_exponents
from ellq_kernels.triton.jit import kernel, launch
from ellq_kernels.triton.layout import Span, chunks_of, sources, tiles_of
from ellq_kernels.triton.marking import marks_of
from ellq_kernels.triton.measuring import magnitudes_of, scales_of
from ellq_kernels.triton.reading import LANES, fold_lanes, key_of, magnitude_of, place
from ellq_kernels.triton.summing import Sums, chunk_layout, empty_sums, fold_rows
from ellq_kernels.triton.weights import Marks, TritonWeights
from ellq_math.values import Cut, Tails

WIDE = 2**30
"""Places in groups longer than this need 64 bits; the others do without their slow comparisons and divisions."""


def cut_many(
    weights: Sequence[TritonWeights], cuts: Sequence[Cut], keys: Sequence[TritonWeights], *, write: bool
) -> list[Tails]:
    """Return what each cut removes, and set it to +0.0 if `write`; all weights, and all keys, of one dtype.

    `keys` choose what goes: the weights themselves, or those of `weigh`.
    """
    marks = [marks_of(one, cut) for one, cut in zip(keys, cuts, strict=True)]
    dtype, spans = weights[0].dtype, chunks_of(weights)
    rows = sum(span.neurons for span in spans)
    exponents = np.zeros(rows, np.int64)
    if dtype == "F64":  # tails are of scaled magnitudes, so the largest that goes must be known first
        nothing = torch.zeros((2, rows), dtype=torch.float64, device=weights[0].device)  # unscaled sums might overflow
        largest = _pass(weights, cuts, keys, marks, spans, nothing, write=False).largest
        exponents = scale_exponents(magnitudes_of(largest.cpu().numpy(), dtype), dtype)
    sums = _pass(weights, cuts, keys, marks, spans, scales_of(exponents, dtype, weights[0].device), write=write)
    columns, tails, first = sums.columns.cpu().numpy(), [], 0
    for one in weights:
        mine = slice(first, first + one.neurons)
        l1, l2_squared, zeros = columns[:, mine]
        tails.append(Tails(l1=l1, l2_squared=l2_squared, exponents=exponents[mine], zeros=zeros.astype(np.int64)))
        first += one.neurons
    return tails


def _pass(
    weights: Sequence[TritonWeights],
    cuts: Sequence[Cut],
    keys: Sequence[TritonWeights],
    marks: Sequence[Marks],
    spans: list[Span],
    scales: torch.Tensor,
    *,
    write: bool,
) -> Sums:
    """Return the sums of rows: of what goes, scaled, of its squares, and of zeros afterwards."""
    device = weights[0].device
    layout = chunk_layout(spans, device=device)
    sums, own = empty_sums(3, layout), all(one is key for one, key in zip(weights, keys, strict=True))
    above, end = torch.cat([one.above for one in marks]), torch.cat([one.end for one in marks])
    groups = np.array([cut.threshold.size for cut in cuts])
    places = zip(sources(keys), cuts, (groups.cumsum() - groups).tolist(), strict=True)
    described = np.array([(source, cut.width, cut.threshold.shape[1], first) for source, cut, first in places], np.int64)
    table = torch.from_numpy(np.repeat(described, tiles_of(spans, layout.per_tile), axis=0)).to(device)
    launch(
        cut_chunks, (len(layout.tiles),),
        weights[0].bits, keys[0].bits, layout.tiles, table, above, end,
        scales, sums.columns, sums.largest,
        layout.rows, layout.stretches, -(-layout.longest // LANES.value),
        DTYPE=weights[0].dtype, KEY_DTYPE="" if own else keys[0].dtype,
        ROWS=layout.per_tile, ALIGNMENT=layout.alignment, KEY_ALIGNMENT=math.gcd(layout.alignment, *sources(keys)),
        GROUPED=int(groups.sum()) > layout.rows, PLACE=tl.int64 if max(cut.width for cut in cuts) > WIDE else tl.int32,
        WRITE=write,
    )  # fmt: skip
    return fold_rows(sums, spans)


@kernel
def cut_chunks(
    weights: tl.tensor, keys: tl.tensor, tiles: tl.tensor, cuts: tl.tensor, above: tl.tensor, end: tl.tensor,
    scales: tl.tensor, columns: tl.tensor, largest: tl.tensor, rows: tl.tensor, stretches: tl.tensor, steps: tl.tensor,
    DTYPE: tl.constexpr, KEY_DTYPE: tl.constexpr, ROWS: tl.constexpr, ALIGNMENT: tl.constexpr, KEY_ALIGNMENT: tl.constexpr,
    GROUPED: tl.constexpr, PLACE: tl.constexpr, WRITE: tl.constexpr,
) -> None:  # fmt: skip
    """Cut a tile of chunks. Sums go down the lanes of each chunk; what stays and goes is written in the same step.

    `cuts`, (tiles, 4) int64: the source of the keys, the width of groups, groups a row, and the place of the tensor's first
    group among those of all. KEY_DTYPE is empty where weights are their own keys.
    """
    start, inside_row, length, stretch, row = place(tiles, ROWS, ALIGNMENT)
    program = tl.program_id(0).to(tl.int64)
    source, first_row = tl.load(tiles + program * 8), tl.load(tiles + program * 8 + 7)
    key_source, width = tl.load(cuts + program * 4), tl.load(cuts + program * 4 + 1)
    a_row, first_group = tl.load(cuts + program * 4 + 2), tl.load(cuts + program * 4 + 3)
    key_start = tl.multiple_of(start - source + key_source, [KEY_ALIGNMENT])
    group = first_group + (row - first_row) * a_row + inside_row // width
    within, lane = inside_row % width, tl.arange(0, LANES)
    if not GROUPED:  # one mark for each chunk
        bound = tl.load(above + group, mask=length > 0, other=0)[:, None]
        until = (tl.load(end + group, mask=length > 0, other=0) - within).to(PLACE)
    if DTYPE == "F64":
        first = tl.load(scales + row, mask=length > 0, other=0.0)
        second = tl.load(scales + rows + row, mask=length > 0, other=0.0)
    l1, l2_squared = tl.zeros([ROWS, LANES], tl.float64), tl.zeros([ROWS, LANES], tl.float64)
    stayed, most = tl.zeros([ROWS, LANES], tl.int32), tl.zeros([ROWS, LANES], tl.int64)
    for step in tl.range(0, steps):  # lanes stay and what they are held against moves: one subtraction a row
        inside = lane[None, :] < (length.to(tl.int32) - step * LANES)[:, None]
        at = start[:, None] + (lane + step * LANES)[None, :]
        bits = tl.load(weights + at, mask=inside, other=0)
        key = key_of(bits, DTYPE)
        chooser = key
        if KEY_DTYPE != "":
            chooser = key_of(tl.load(keys + (at - start[:, None] + key_start[:, None]), mask=inside, other=0), KEY_DTYPE)
        if GROUPED:
            position = within[:, None].to(PLACE) + (lane + step * LANES)[None, :]
            groups_on = position // width.to(PLACE)
            mark = group[:, None] + groups_on
            bound = tl.load(above + mark, mask=inside, other=0)
            ties_stay = position - groups_on * width.to(PLACE) < tl.load(end + mark, mask=inside, other=0).to(PLACE)
        else:
            ties_stay = lane[None, :] < (until - step * LANES)[:, None]
        least = bound.to(chooser.dtype)  # 64-bit comparisons are two each
        goes = chooser < tl.where(ties_stay, least - 1, least)  # beyond the end of a row zeros go, which changes nothing
        gone = tl.where(goes, key, 0)
        stayed += (gone != key).to(tl.int32)
        x = magnitude_of(gone, DTYPE)
        if DTYPE == "F64":
            most = tl.maximum(most, gone)
            x = x * first[:, None] * second[:, None]
        l1 += x
        l2_squared += x * x
        if WRITE:  # whole lines, not only what changed: stores stay as wide as loads
            tl.store(weights + at, tl.where(goes, 0, bits).to(bits.dtype), mask=inside)
    tl.store(columns + stretch, fold_lanes(l1, ROWS), mask=length > 0)
    tl.store(columns + stretches + stretch, fold_lanes(l2_squared, ROWS), mask=length > 0)
    zeros = (length - tl.sum(stayed, axis=1)).to(tl.float64)
    tl.store(columns + tl.cast(2, tl.int64) * stretches + stretch, zeros, mask=length > 0)
    tl.store(largest + stretch, tl.max(most, axis=1), mask=length > 0)
