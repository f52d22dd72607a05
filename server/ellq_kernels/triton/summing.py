"""Sums in canonical order: sixteen lanes down each chunk, then chunks of chunks, with no row's order left to chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton.language as tl

from ellq_kernels.triton.jit import kernel, launch
from ellq_kernels.triton.layout import Layout, Span, lay_out
from ellq_kernels.triton.reading import LANES, fold_lanes, place
from ellq_math.sums import CHUNK

FEW_TILES = 132
"""Below, an H100 with its 132 multiprocessors has no full tile for each: smaller tiles spread the work."""


@dataclass(frozen=True)
class Sums:
    """What a pass found of each stretch, or row."""

    columns: torch.Tensor
    """(columns, stretches) float64 sums; counts among them are exact, being below 2^53."""
    largest: torch.Tensor
    """(stretches,) int64: the largest key."""


def chunk_layout(spans: Sequence[Span], *, device: torch.device, full: int = 64) -> Layout:
    """Return the table of a pass over chunks, whose spans have chunks for their width; `full` of them fill a tile."""
    chunks = sum(span.stretches for span in spans)
    # 64 chunks over 128 threads: eight 16-bit weights, one 16-byte load, a thread and step
    return lay_out(spans, per_tile=16 if chunks < FEW_TILES * full else full, device=device)


def empty_sums(columns: int, layout: Layout) -> Sums:
    """Return room for a pass."""
    device = layout.tiles.device
    return Sums(
        columns=torch.empty((columns, layout.stretches), dtype=torch.float64, device=device),
        largest=torch.empty(layout.stretches, dtype=torch.int64, device=device),
    )


def fold_rows(chunks: Sums, spans: Sequence[Span]) -> Sums:
    """Return the sums of rows from those of their chunks, level by level."""
    while any(span.stretches_a_row > 1 for span in spans):
        source, partial = 0, []
        for span in spans:
            partial.append(Span(source, span.neurons, span.stretches_a_row, CHUNK))
            source += span.stretches
        spans = partial
        layout = chunk_layout(spans, device=chunks.largest.device)
        folded = empty_sums(len(chunks.columns), layout)
        launch(
            fold_chunks, (len(layout.tiles), len(chunks.columns)),
            chunks.columns, chunks.largest, layout.tiles, folded.columns, folded.largest,
            chunks.largest.numel(), layout.stretches, -(-layout.longest // LANES.value), ROWS=layout.per_tile,
        )  # fmt: skip
        chunks = folded
    return chunks


@kernel
def fold_chunks(
    columns: tl.tensor, keys: tl.tensor, tiles: tl.tensor, folded: tl.tensor, largest: tl.tensor,
    stretches: tl.tensor, out_stretches: tl.tensor, steps: tl.tensor, ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """Add up the terms of each stretch, one column a program; the first column's programs find the largest keys too."""
    start, _, length, stretch, _ = place(tiles, ROWS, 1)
    column = tl.program_id(1).to(tl.int64)
    sums, most = tl.zeros([ROWS, LANES], tl.float64), tl.zeros([ROWS, LANES], tl.int64)
    for step in range(steps):
        lane = tl.arange(0, LANES) + step * LANES
        inside = lane[None, :] < length[:, None]
        at = start[:, None] + lane[None, :]
        sums += tl.load(columns + column * stretches + at, mask=inside, other=0.0)
        if column == 0:
            most = tl.maximum(most, tl.load(keys + at, mask=inside, other=0))
    tl.store(folded + column * out_stretches + stretch, fold_lanes(sums, ROWS), mask=length > 0)
    if column == 0:
        tl.store(largest + stretch, tl.max(most, axis=1), mask=length > 0)
