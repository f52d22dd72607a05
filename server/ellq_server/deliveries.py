"""How the bytes of a tensor reach a caller who still has those that came: as few as tell the rest."""

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq.v1.safetensors import DTYPE_BITS
from ellq_server.workbench import Outcome

WHOLE_BYTES = 1 << 16
"""Tensors below this come whole: reading the source again costs the caller as much as their bytes."""


def delivery_of(outcome: Outcome) -> pb.Delivery:
    """Return how a tensor is delivered. Where values were replaced, no mask tells what became of them."""
    assert outcome.payload is not None
    if len(outcome.payload) < WHOLE_BYTES:
        return pb.DELIVERY_WHOLE
    if outcome.proof is None:
        return pb.DELIVERY_AS_SENT
    return pb.DELIVERY_WHOLE if outcome.proof.changed.choice is None else pb.DELIVERY_MASK


def delivered_bytes(outcome: Outcome, delivery: pb.Delivery) -> memoryview:
    """Return what goes into the data frames for a tensor."""
    assert outcome.payload is not None
    if delivery == pb.DELIVERY_AS_SENT:
        return memoryview(b"")
    return mask_of(outcome.payload, outcome.plan.entry.dtype) if delivery == pb.DELIVERY_MASK else outcome.payload


def mask_of(payload: memoryview, dtype: str) -> memoryview:
    """Return a bit for each weight, lowest first: whether any of its bits is set. Shape: (weights,) -> (ceil(weights / 8),)."""
    return np.packbits(np.frombuffer(payload, f"u{DTYPE_BITS[dtype] // 8}") != 0, bitorder="little").data
