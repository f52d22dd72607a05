"""What this server refuses for ever, and how much memory a call will need."""

from dataclasses import dataclass

from ellq_math.rules import NOfM
from ellq_server.header import Header
from ellq_server.planning import Plan, Planning
from ellq_server.refusals import InvalidRequest, TooLarge, shorten
from ellq_server.requests import Request, Scope
from ellq_server.sentence import Workbench
from ellq_server.settings import Settings

TENSORS_AT_HAND = 3
"""Copies of the largest tensor that a call can hold: as read, as written, and the one before on its way out."""

NEURON_BYTES = 400
"""Statistics, choice and certificate of one neuron: some forty numbers of eight bytes, and passing ones."""

SUM_BYTES = 16
"""A power sum of one neuron, once as kept and once in passing."""

GROUP_BYTES = 80
"""Threshold, ties and count of one group of n_of_m, and passing ones."""

CALL_BYTES = 128 << 20
"""What a call needs beside its tensors: frames in flight on both sides of gRPC, kernel scratch, reports. All these figures
are held by tests/server/test_memory.py."""

DISTRIBUTION_BYTES_A_WEIGHT = 48
"""Distribution works on float64 copies: scaled, magnitudes, sorted, and passing ones."""

DISTRIBUTION_BYTES_A_LINE = 400
"""The same for each row and column, whose sums are padded to sixteen lanes where rows are short."""


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


def is_pooled(request: Request, planning: Planning) -> bool:
    """Return whether a call must hold all weights before it can cut the first: global scope without a sketch."""
    if request.rule is None or request.rule.scope is not Scope.GLOBAL or request.sketch or request.builds_sketch:
        return False
    return any(plan.rule is None for plan in planning.compressible)


def needed_bytes(request: Request, header: Header, planning: Planning, limits: Limits, bench: Workbench) -> int:
    """Return how much memory the call needs at most.

    Errors: TooLarge (TENSOR_TOO_LARGE, PAYLOAD_TOO_LARGE); InvalidRequest (SKETCH_REQUIRED).
    """
    _check_sizes(header, limits)
    largest = max(planning.plans, key=lambda plan: _tensor_bytes(plan, bench), default=None)
    needed = CALL_BYTES + (_tensor_bytes(largest, bench) if largest else 0)
    if largest and needed > limits.memory_bytes:
        name = shorten(repr(largest.entry.name))
        message = f"tensor {name} needs {needed} bytes of memory with these options; this server has {limits.memory_bytes}"
        raise TooLarge(message, reason="TENSOR_TOO_LARGE", field="data")
    if is_pooled(request, planning):
        held = header.payload_bytes + sum(_neuron_bytes(bench) * plan.neurons for plan in planning.compressible)
        if header.payload_bytes > limits.pooled_payload_bytes or needed + held > limits.memory_bytes:
            holds = f"{header.payload_bytes} bytes of payload need {needed + held} bytes of memory at once"
            allowed = f"this server has {limits.memory_bytes} and holds at most {limits.pooled_payload_bytes} bytes of payload"
            message = f"a rule of SCOPE_GLOBAL needs a sketch here: {holds}; {allowed}; call Analyze with options.sketch first"
            raise InvalidRequest(message, reason="SKETCH_REQUIRED", field="options.sketch")
        needed += held
    return needed


def _check_sizes(header: Header, limits: Limits) -> None:
    for entry in header.tensors:
        if entry.length_bytes > limits.tensor_bytes:
            has = f"tensor {shorten(repr(entry.name))} has {entry.length_bytes} bytes"
            raise TooLarge(f"{has}; this server takes at most {limits.tensor_bytes}", reason="TENSOR_TOO_LARGE", field="data")
    if header.payload_bytes > limits.payload_bytes:
        message = f"the payload has {header.payload_bytes} bytes; this server takes at most {limits.payload_bytes}"
        raise TooLarge(message, reason="PAYLOAD_TOO_LARGE", field="data")


def _neuron_bytes(bench: Workbench) -> int:
    return NEURON_BYTES + SUM_BYTES * len(bench.orders)


def _tensor_bytes(plan: Plan, bench: Workbench) -> int:
    """Return how much memory one tensor needs while it is worked on."""
    needed = TENSORS_AT_HAND * plan.entry.length_bytes
    if plan.reason is not None:
        return needed
    needed += bench.kernels.scratch_bytes_a_weight * plan.weights + _neuron_bytes(bench) * plan.neurons
    if plan.neuron_axis != tuple(range(len(plan.neuron_axis))):
        needed += plan.entry.length_bytes  # the transposed copy
    scoped = plan.rule or bench.request.rule
    if scoped and isinstance(scoped.rule, NOfM):
        needed += GROUP_BYTES * plan.neurons * -(-plan.fan_in // scoped.rule.m)
    if bench.request.distribution:
        needed += DISTRIBUTION_BYTES_A_WEIGHT * plan.weights + DISTRIBUTION_BYTES_A_LINE * (plan.neurons + plan.fan_in)
    return needed
