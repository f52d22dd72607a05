"""One call from the first byte to the summary: read, measure, allocate, choose, apply, certify, write.

Plain and synchronous: an iterator of request bytes in, an iterator of events out. It runs in a worker thread; protobuf and
gRPC begin on either side of it.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from ellq.v1.frames import Data
from ellq.v1.safetensors import LENGTH_BYTES
from ellq_kernels.contract import Kernels
from ellq_server.admission import Admission, Place
from ellq_server.byte_stream import ByteStream
from ellq_server.header import Header, header_length, parse_header
from ellq_server.held import NetworkReply, hold_all
from ellq_server.limits import Limits, needed_bytes
from ellq_server.network_plans import check_axes, fit_moments, neuron_axes, read_network
from ellq_server.planning import Plan, Planning, plan_tensors
from ellq_server.pooled import PooledCut, SketchBuilder, threshold_of_sketch
from ellq_server.refusals import EllqError, InvalidRequest
from ellq_server.requests import Request
from ellq_server.runs import Arrived, runs_of, work_together
from ellq_server.scoped_rules import Scope
from ellq_server.sentence import apply, change, finish, orders_of, read, receive
from ellq_server.sketched_budgets import SketchedReply, check_sensitivities, count_costs, cut_by_sketch
from ellq_server.sketches import Sketch
from ellq_server.stopwatch import Stopwatch
from ellq_server.widening import ScaleStore
from ellq_server.workbench import Measured, Outcome, Workbench

PARSED_HEADER_RATIO = 32
"""Memory of a parsed header, its entries and plans, for each byte of its text. The worst that was found is 20, for metadata of
short keys (2026-11-22, CPython 3.11 on x86-64)."""


@dataclass(frozen=True)
class House:
    """What all calls of one server share."""

    kernels: Kernels
    limits: Limits
    admission: Admission


@dataclass(frozen=True)
class Opening:
    """What the header told and what will be done. Once, first."""

    header: Header
    planning: Planning


class Absence(Enum):
    """Why there is nothing to say about the network: NetworkCertificateAbsence of the contract, without its prefix."""

    NO_TOPOLOGY = "no_topology"
    TOO_LARGE = "too_large"
    NO_RULE = "no_rule"


@dataclass(frozen=True)
class Closing:
    """How it went. Once, last."""

    sketch: Sketch | None
    network: NetworkReply | SketchedReply | Absence
    received_seconds: float


Event = Opening | Outcome | Closing


def answer(request: Request, chunks: Iterator[Data], house: House, place: Place, stopwatch: Stopwatch) -> Generator[Event]:
    """Yield what the call finds, in the order of the contract. `place` holds its memory.

    Errors: every EllqError of refusals.py but Draining.
    """
    stream = ByteStream(chunks)
    prefix = bytes(stream.read(LENGTH_BYTES, what="the header's length"))
    length = header_length(prefix, limit=house.limits.header_bytes)
    with place.memory(PARSED_HEADER_RATIO * length):
        text = bytes(stream.read(length, what="the header"))
        header = parse_header(prefix, text, most_tensors=house.limits.tensors)
        if request.plans_only:
            yield from _plans(request, header, stream)
        else:
            yield from _answer(request, header, stream, house, place, stopwatch)


def _plans(request: Request, header: Header, stream: ByteStream) -> Iterator[Event]:
    """Tell what would be done, and read no further."""
    graph = read_network(request, header.tensors)
    planning = plan_tensors(header.tensors, request.selection, neuron_axes(graph))
    check_axes(graph, planning)
    yield Opening(header, planning)
    yield Closing(None, Absence.NO_RULE, stream.waited_seconds)


def _answer(
    request: Request, header: Header, stream: ByteStream, house: House, place: Place, stopwatch: Stopwatch
) -> Iterator[Event]:
    graph = read_network(request, header.tensors)
    planning = plan_tensors(header.tensors, request.selection, neuron_axes(graph))
    check_axes(graph, planning)
    moments = fit_moments(request, planning, graph)
    rules = {scoped for scoped in (request.rule, *(plan.rule for plan in planning.compressible)) if scoped}
    scales = ScaleStore(planning.awaited_scales)
    bench = Workbench(house.kernels, request, orders_of(request, rules), stopwatch, graph, moments, scales)
    needed = needed_bytes(header, planning, house.limits, bench)
    with place.memory(needed.bytes):
        yield Opening(header, planning)
        _check_sketch(bench, planning)
        if graph and not (needed.held or request.walks_back):  # too large to hold, and nothing needs it
            bench = replace(bench, graph=None)
        builder = SketchBuilder(request, request.rule.pool_rule) if request.builds_sketch and request.rule else None
        reply = None
        if needed.held:
            reply = yield from hold_all(bench, stream, planning)
        elif request.spends_budget and builder:
            yield from count_costs(bench, stream, planning, builder)
        elif request.spends_budget and request.rule and request.sketch:
            reply = yield from cut_by_sketch(bench, stream, planning, request.sketch, request.rule)
        else:
            yield from _in_order(bench, stream, planning, builder)
        stream.expect_end()
        sketch = builder.build() if builder else None
        yield Closing(sketch, reply or _absence(request), stream.waited_seconds)


def _absence(request: Request) -> Absence:
    """Return why there is nothing to say about the network."""
    if request.network is None:
        return Absence.NO_TOPOLOGY
    if request.rule is None or request.builds_sketch:
        return Absence.NO_RULE
    return Absence.TOO_LARGE


def _in_order(bench: Workbench, stream: ByteStream, planning: Planning, builder: SketchBuilder | None) -> Iterator[Outcome]:
    """Finish every tensor, or run of small ones, before the next is read."""
    request = bench.request
    pooled = None
    if request.rule and request.sketch and not builder:
        pooled = PooledCut(threshold_of_sketch(request.sketch, request.rule.pool_rule, ignore_zeros=request.ignore_zeros))
    for plans in runs_of(planning.plans):
        arrived, error = _read_run(stream, plans)
        run = deque[Arrived | Outcome](arrived if builder else work_together(bench, arrived))
        del arrived
        while run:  # without names for what is taken: they would keep the weights of one tensor while the next is worked on
            yield _finished(bench, _received(bench, run.popleft()), pooled, builder)
        if error is not None:
            raise error


def _read_run(stream: ByteStream, plans: Sequence[Plan]) -> tuple[deque[Arrived], EllqError | None]:
    """Return the tensors that came, and why the others did not: what is wrong with the first is told before."""
    run = deque[Arrived]()
    try:
        for plan in plans:
            run.append(Arrived(plan, read(stream, plan)))
    except EllqError as error:
        return run, error
    return run, None


def _received(bench: Workbench, one: Arrived | Outcome) -> Measured | Outcome:
    return one if isinstance(one, Outcome) else receive(bench, one.plan, one.stored)


def _finished(
    bench: Workbench, measured: Measured | Outcome, pooled: PooledCut | None, builder: SketchBuilder | None
) -> Outcome:
    """Return what becomes of a tensor."""
    if isinstance(measured, Outcome):
        return measured
    plan, request = measured.plan, bench.request
    rule = plan.rule or request.rule
    if builder and plan.rule is None:
        builder.add(bench, measured.selected)
    if rule is None or (builder and plan.rule is None):
        return Outcome(plan, None, measured.without_weights())
    if rule.scope is Scope.GLOBAL and pooled:
        return finish(bench, apply(bench, measured, pooled.choose(bench, measured)), rule)
    return finish(bench, change(bench, measured, rule), rule)


def _check_sketch(bench: Workbench, planning: Planning) -> None:
    """Refuse a sketch of fewer weights than this stream alone brings, or of other tensors than a budget is over."""
    request, sketch = bench.request, bench.request.sketch
    if sketch is None:
        return
    if request.spends_budget:
        check_sensitivities(sketch, bench, planning)
        return
    counted = sum(plan.weights for plan in planning.compressible if plan.rule is None)
    if not request.pass_nonfinite and counted > sketch.weights:
        message = (
            f"options.sketch counts {sketch.weights} weights, this stream alone has {counted}: it belongs to other weights"
        )
        raise InvalidRequest(message, reason="INVALID_SKETCH", field="options.sketch")
