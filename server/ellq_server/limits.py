"""What this server refuses for ever, and how much memory a call will need."""

from dataclasses import dataclass

from ellq_server.header import Header
from ellq_server.planning import Planning
from ellq_server.refusals import InvalidRequest, TooLarge, shorten
from ellq_server.requests import Request, Scope
from ellq_server.settings import Settings

TENSORS_AT_HAND = 3
"""Copies of the largest tensor that a call can hold: as read, as selection scratch, as written."""

CALL_BYTES = 128 << 20
"""What a call needs beside its tensors: frames in flight on both sides of gRPC, kernel scratch, reports; about 100 MiB when
measured (tests/server/test_service.py)."""

DISTRIBUTION_BYTES_A_WEIGHT = 40
"""Distribution works on float64 copies: scaled, magnitudes, sorted, and two of passing use."""


@dataclass(frozen=True)
class Limits:
    """The limits of GetCapabilities, all in bytes or counts."""

    header_bytes: int
    tensors: int
    tensor_bytes: int
    payload_bytes: int
    pooled_payload_bytes: int
    concurrent_calls: int
    memory_bytes: int


def limits_of(settings: Settings) -> Limits:
    """Return limits such that whatever they admit fits into the memory budget."""
    room = max(settings.memory_bytes - CALL_BYTES, 1)
    return Limits(
        header_bytes=settings.header_bytes,
        tensors=settings.tensors,
        tensor_bytes=min(settings.tensor_bytes, max(room // TENSORS_AT_HAND, 1)),
        payload_bytes=settings.payload_bytes,
        pooled_payload_bytes=max(room // (1 + TENSORS_AT_HAND), 1),
        concurrent_calls=settings.concurrent_calls,
        memory_bytes=settings.memory_bytes,
    )


def is_pooled(request: Request) -> bool:
    """Return whether a call must hold all weights before it can cut the first: global scope without a sketch."""
    return (
        request.rule is not None and request.rule.scope is Scope.GLOBAL and request.sketch is None and not request.builds_sketch
    )


def needed_bytes(request: Request, header: Header, planning: Planning, limits: Limits) -> int:
    """Return how much memory the call needs.

    Errors: TooLarge (TENSOR_TOO_LARGE, PAYLOAD_TOO_LARGE); InvalidRequest (SKETCH_REQUIRED).
    """
    largest = max(header.tensors, key=lambda entry: entry.length_bytes, default=None)
    largest_bytes = largest.length_bytes if largest else 0
    if largest and largest_bytes > limits.tensor_bytes:
        message = (
            f"tensor {shorten(repr(largest.name))} has {largest_bytes} bytes; this server takes at most {limits.tensor_bytes}"
        )
        raise TooLarge(message, reason="TENSOR_TOO_LARGE", field="data")
    if header.payload_bytes > limits.payload_bytes:
        message = f"the payload has {header.payload_bytes} bytes; this server takes at most {limits.payload_bytes}"
        raise TooLarge(message, reason="PAYLOAD_TOO_LARGE", field="data")
    needed = CALL_BYTES + TENSORS_AT_HAND * largest_bytes
    if request.distribution:
        needed += DISTRIBUTION_BYTES_A_WEIGHT * max((plan.weights for plan in planning.compressible), default=0)
        if needed > limits.memory_bytes:
            message = f"distribution needs {needed} bytes of memory here; this server has {limits.memory_bytes}"
            raise TooLarge(message, reason="TENSOR_TOO_LARGE", field="options.distribution")
    if is_pooled(request):
        if header.payload_bytes > limits.pooled_payload_bytes:
            holds = (
                f"this server holds at most {limits.pooled_payload_bytes} bytes at once, the payload has {header.payload_bytes}"
            )
            message = f"a rule of SCOPE_GLOBAL needs a sketch here: {holds}; call Analyze with options.sketch first"
            raise InvalidRequest(message, reason="SKETCH_REQUIRED", field="options.sketch")
        needed += header.payload_bytes
    return needed
