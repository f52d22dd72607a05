"""How the bytes of a tensor reach a caller who still has those that came: as few as tell the rest."""

from collections.abc import Iterator

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq.v1.safetensors import DTYPE_BITS
from ellq_server.workbench import Outcome

WHOLE_BYTES = 1 << 16
"""Tensors below this come whole: reading the source again costs the caller as much as their bytes."""

BLOCK_WEIGHTS = 1 << 20
"""Weights whose mask is made at a time, a multiple of eight."""


def delivery_of(outcome: Outcome) -> pb.Delivery:
    """Return how a tensor is delivered. Where values were replaced, no mask tells what became of them."""
    assert outcome.payload is not None
    if len(outcome.payload) < WHOLE_BYTES:
        return pb.DELIVERY_WHOLE
    if outcome.proof is None:
        return pb.DELIVERY_AS_SENT
    return pb.DELIVERY_WHOLE if outcome.proof.changed.choice is None else pb.DELIVERY_MASK


def delivered(outcome: Outcome, delivery: pb.Delivery) -> Iterator[memoryview]:
    """Yield what goes into the data frames for a tensor."""
    assert outcome.payload is not None
    if delivery == pb.DELIVERY_MASK:
        yield from mask_of(outcome.payload, outcome.plan.entry.dtype)
    elif delivery != pb.DELIVERY_AS_SENT:
        yield outcome.payload


def mask_of(payload: memoryview, dtype: str) -> Iterator[memoryview]:
    """Yield a bit for each weight, lowest first: whether any of its bits is set. Of a block at a time, so no tensor needs room.

    Shape: (weights,) -> (ceil(weights / 8),) in all.
    """
    words = np.frombuffer(payload, f"u{DTYPE_BITS[dtype] // 8}")
    for start in range(0, len(words), BLOCK_WEIGHTS):
        yield np.packbits(words[start : start + BLOCK_WEIGHTS] != 0, bitorder="little").data
