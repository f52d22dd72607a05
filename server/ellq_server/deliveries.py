"""How the bytes of a tensor reach a caller who still has those that came: as few as tell the rest."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq.v1.safetensors import DTYPE_BITS
from ellq_server.workbench import Outcome

WHOLE_BYTES = 1 << 16
"""Tensors below this come whole: reading the source again costs the caller as much as their bytes."""

BLOCK_BYTES = 1 << 17
"""Bytes whose mask is made and which are hashed before the next: they stay in the cache meanwhile. A multiple of 64."""


def deliver(outcome: Outcome, *, masks: bool) -> tuple[pb.Payload, Sequence[memoryview]]:
    """Return what is told of a tensor's bytes, and what goes into the data frames for it."""
    assert outcome.payload is not None
    delivery = delivery_of(outcome) if masks else pb.DELIVERY_UNSPECIFIED
    if delivery == pb.DELIVERY_MASK:
        digest, data = digest_and_mask(outcome.payload, outcome.plan.entry.dtype)
    else:
        digest, data = sha256(outcome.payload).digest(), () if delivery == pb.DELIVERY_AS_SENT else (outcome.payload,)
    told = pb.Payload(encoding=pb.ENCODING_DENSE, length_bytes=len(outcome.payload), sha256=digest, delivery=delivery)
    return told, data


def delivery_of(outcome: Outcome) -> pb.Delivery:
    """Return how a tensor is delivered. Where values were replaced, no mask tells what became of them."""
    assert outcome.payload is not None
    if len(outcome.payload) < WHOLE_BYTES:
        return pb.DELIVERY_WHOLE
    if outcome.proof is None:
        return pb.DELIVERY_AS_SENT
    return pb.DELIVERY_WHOLE if outcome.proof.changed.choice is None else pb.DELIVERY_MASK


def digest_and_mask(payload: memoryview, dtype: str) -> tuple[bytes, list[memoryview]]:
    """Return the SHA-256 of a tensor and a bit for each weight, lowest first: whether any of its bits is set.

    Shape: (weights,) -> (ceil(weights / 8),) in all.
    """
    digest, mask = sha256(), list[memoryview]()
    for start in range(0, len(payload), BLOCK_BYTES):
        block = payload[start : start + BLOCK_BYTES]
        digest.update(block)
        mask.append(np.packbits(np.frombuffer(block, f"u{DTYPE_BITS[dtype] // 8}") != 0, bitorder="little").data)
    return digest.digest(), mask
