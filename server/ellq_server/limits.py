"""What this server refuses for ever, and how much memory a call will need."""

from dataclasses import dataclass

from ellq_kernels.contract import POOL_BYTES_A_WEIGHT
from ellq_math.network.topology import Graph
from ellq_math.rules import ErrorBudget, Lasso
from ellq_server.budgets import TRIALS
from ellq_server.footprints import TENSORS_AT_HAND, held_bytes, network_bytes, scales_bytes, tensor_bytes
from ellq_server.header import Header
from ellq_server.network_work import network_work
from ellq_server.planning import Planning
from ellq_server.refusals import InvalidRequest, TooLarge, shorten
from ellq_server.requests import Request
from ellq_server.scoped_rules import Scope, unsketchable
from ellq_server.settings import Settings
from ellq_server.walks import walk_bytes
from ellq_server.workbench import Workbench

CALL_BYTES = 128 << 20
"""What a call needs beside its tensors: frames in flight on both sides of gRPC, kernel scratch, reports. All these figures
are held by tests/server/test_memory.py."""

LASSO_SWEEPS = 1000
"""Sweeps over the weights of a neuron that LASSO rarely exceeds (40 penalties of at most 96 each)."""

MOMENTS_AT_HAND = 2
"""Copies of the moments that a call holds: as they came and in shape."""


@dataclass(frozen=True)
class Limits:
    """The limits of GetCapabilities, all in bytes or counts."""

    header_bytes: int
    tensors: int
    tensor_bytes: int
    payload_bytes: int
    pooled_payload_bytes: int
    concurrent_calls: int
    moments_bytes: int
    network_work: int
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
        moments_bytes=min(settings.moments_bytes, room // MOMENTS_AT_HAND),
        network_work=settings.network_work,
        memory_bytes=settings.memory_bytes,
    )


@dataclass(frozen=True)
class Needs:
    """What a call will take."""

    bytes: int
    """Memory at most."""
    held: bool
    """Whether it holds all weights before the first may leave."""


def needed_bytes(header: Header, planning: Planning, limits: Limits, bench: Workbench) -> Needs:
    """Return what the call needs. One that would hold all weights only for the network's certificate may not get to.

    Errors: TooLarge (TENSOR_TOO_LARGE, PAYLOAD_TOO_LARGE, NETWORK_TOO_LARGE); InvalidRequest (SKETCH_REQUIRED).
    """
    _check_sizes(header, limits)
    _check_lasso(planning, limits, bench.request)
    largest = max(planning.plans, key=lambda plan: tensor_bytes(plan, bench), default=None)
    needed = CALL_BYTES + scales_bytes(planning) + (tensor_bytes(largest, bench) if largest else 0)
    if bench.request.walks_back and bench.graph:
        needed += walk_bytes(bench.graph, planning)
    if largest and needed > limits.memory_bytes:
        name = shorten(repr(largest.entry.name))
        message = f"tensor {name} needs {needed} bytes of memory with these options; this server has {limits.memory_bytes}"
        raise TooLarge(message, reason="TENSOR_TOO_LARGE", field="data")
    pooled, certified = _is_pooled(bench.request, planning), _is_certified(bench)
    if not pooled and not certified:
        return Needs(needed, held=False)
    graph = bench.graph if certified else None
    held = needed + header.payload_bytes + sum(held_bytes(plan, bench) for plan in planning.compressible)
    held += POOL_BYTES_A_WEIGHT * sum(plan.weights for plan in planning.compressible) if pooled else 0
    held += network_bytes(graph, planning) if graph else 0
    if header.payload_bytes <= limits.pooled_payload_bytes and held <= limits.memory_bytes:
        if graph:
            _check_work(bench, graph, planning, limits)
        return Needs(held, held=True)
    if not pooled and not bench.request.needs_network:
        return Needs(needed, held=False)
    holds = f"{header.payload_bytes} bytes of payload need {held} bytes of memory at once"
    allowed = f"this server has {limits.memory_bytes} and holds at most {limits.pooled_payload_bytes} bytes of payload"
    raise _too_large_to_hold(bench.request, f"{holds}; {allowed}")


def _too_large_to_hold(request: Request, why: str) -> InvalidRequest:
    message = f"a rule of SCOPE_GLOBAL needs a sketch here: {why}; call Analyze with options.sketch first"
    if whole := _only_held(request):
        message = f"{whole} cannot be had here: {why}"
    return InvalidRequest(message, reason="SKETCH_REQUIRED", field="options.sketch")


def _only_held(request: Request) -> str | None:
    """Return what of a request no sketch makes up for."""
    if request.remove_dead_neurons:
        return "remove_dead_neurons"
    return unsketchable(request.rule.rule) if request.rule else None


def _is_pooled(request: Request, planning: Planning) -> bool:
    """Return whether a call must hold all weights before it can cut the first: global scope without a sketch."""
    if request.rule is None or request.rule.scope is not Scope.GLOBAL or request.sketch or request.builds_sketch:
        return False
    return any(plan.rule is None for plan in planning.compressible)


def _is_certified(bench: Workbench) -> bool:
    """Return whether a call would hold all weights to certify the network."""
    return bench.graph is not None and bench.request.rule is not None and not bench.request.builds_sketch


def _check_work(bench: Workbench, graph: Graph, planning: Planning, limits: Limits) -> None:
    shapes = {plan.entry.name: plan.entry.shape for plan in planning.plans}
    needed = network_work(graph, shapes, has_moments=bool(bench.moments))
    rule = bench.request.rule
    if rule and isinstance(rule.rule, ErrorBudget) and rule.rule.measured:
        needed *= 1 + TRIALS
    if needed > limits.network_work:
        message = (
            f"the certificate of the network takes as long as {needed} multiply-adds; "
            f"this server spends at most {limits.network_work}"
        )
        raise TooLarge(message, reason="NETWORK_TOO_LARGE", field="options.network.topology")


def _check_lasso(planning: Planning, limits: Limits, request: Request) -> None:
    for plan in planning.compressible:
        scoped = plan.rule or request.rule
        needed = LASSO_SWEEPS * plan.neurons * plan.fan_in**2
        if scoped and isinstance(scoped.rule, Lasso) and needed > limits.network_work:
            takes = f"LASSO of tensor {shorten(repr(plan.entry.name))} takes up to {needed} multiply-adds"
            allowed = f"this server spends at most {limits.network_work}"
            raise TooLarge(f"{takes}; {allowed}; give the tensor another rule", reason="NETWORK_TOO_LARGE", field="data")


def _check_sizes(header: Header, limits: Limits) -> None:
    for entry in header.tensors:
        if entry.length_bytes > limits.tensor_bytes:
            has = f"tensor {shorten(repr(entry.name))} has {entry.length_bytes} bytes"
            raise TooLarge(f"{has}; this server takes at most {limits.tensor_bytes}", reason="TENSOR_TOO_LARGE", field="data")
    if header.payload_bytes > limits.payload_bytes:
        message = f"the payload has {header.payload_bytes} bytes; this server takes at most {limits.payload_bytes}"
        raise TooLarge(message, reason="PAYLOAD_TOO_LARGE", field="data")
