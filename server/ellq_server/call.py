"""One call from the first byte to the summary: read, measure, allocate, choose, apply, certify, write.

Plain and synchronous: an iterator of request bytes in, an iterator of events out. It runs in a worker thread; protobuf and
gRPC begin on either side of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ellq_kernels.contract import Kernels
from ellq_server.admission import Admission
from ellq_server.byte_stream import ByteStream
from ellq_server.header import LENGTH_BYTES, Header, header_length, parse_header
from ellq_server.limits import Limits, is_pooled, needed_bytes
from ellq_server.planning import Plan, Planning, plan_tensors
from ellq_server.pooled import PooledCut, SketchBuilder, threshold_in_memory, threshold_of_sketch
from ellq_server.refusals import InvalidRequest, shorten
from ellq_server.requests import Request, Scope
from ellq_server.sentence import Measured, Outcome, Workbench, choose, finish, measure, orders_of, pass_through
from ellq_server.sketches import Sketch
from ellq_server.stopwatch import Stopwatch

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


@dataclass(frozen=True)
class Closing:
    """How it went. Once, last."""

    sketch: Sketch | None
    received_seconds: float


Event = Opening | Outcome | Closing


def answer(request: Request, chunks: Iterator[bytes], house: House, stopwatch: Stopwatch) -> Iterator[Event]:
    """Yield what the call finds, in the order of the contract.

    Errors: every EllqError of refusals.py but Draining.
    """
    stream = ByteStream(chunks)
    prefix = bytes(stream.read(LENGTH_BYTES, what="the header's length"))
    length = header_length(prefix, limit=house.limits.header_bytes)
    with house.admission.memory(PARSED_HEADER_RATIO * length):
        text = bytes(stream.read(length, what="the header"))
        header = parse_header(prefix, text, most_tensors=house.limits.tensors)
        yield from _answer(request, header, stream, house, stopwatch)


def _answer(request: Request, header: Header, stream: ByteStream, house: House, stopwatch: Stopwatch) -> Iterator[Event]:
    planning = plan_tensors(header.tensors, request.selection)
    rules = {scoped for scoped in (request.rule, *(plan.rule for plan in planning.compressible)) if scoped}
    bench = Workbench(house.kernels, request, orders_of(request, rules), stopwatch)
    needed = needed_bytes(request, header, planning, house.limits, bench)
    with house.admission.memory(needed):
        yield Opening(header, planning)
        _check_sketch(request, planning)
        builder = SketchBuilder(request, request.rule.rule) if request.builds_sketch and request.rule else None
        if is_pooled(request, planning):
            yield from _hold_all(bench, stream, planning)
        else:
            yield from _one_by_one(bench, stream, planning, builder)
        stream.expect_end()
        yield Closing(builder.build() if builder else None, stream.waited_seconds)


def _one_by_one(bench: Workbench, stream: ByteStream, planning: Planning, builder: SketchBuilder | None) -> Iterator[Outcome]:
    """Finish every tensor before the next is read."""
    request = bench.request
    pooled = None
    if request.rule and request.sketch and not builder:
        pooled = PooledCut(threshold_of_sketch(request.sketch, request.rule.rule, ignore_zeros=request.ignore_zeros))
    for plan in planning.plans:
        measured = _read(bench, stream, plan)
        if isinstance(measured, Outcome):
            yield measured
            continue
        rule = plan.rule or request.rule
        if builder and plan.rule is None:
            builder.add(bench, measured)
        if rule is None or (builder and plan.rule is None):
            yield finish(bench, measured, None, None)
        elif rule.scope is Scope.GLOBAL and pooled:
            yield finish(bench, measured, pooled.choose(bench, measured), rule)
        else:
            yield finish(bench, measured, choose(bench, measured, rule), rule)


def _hold_all(bench: Workbench, stream: ByteStream, planning: Planning) -> Iterator[Outcome]:
    """Read everything, find the one threshold, then finish tensor by tensor."""
    held = [_read(bench, stream, plan) for plan in planning.plans]
    stream.expect_end()
    request_rule = bench.request.rule
    assert request_rule is not None
    counted = [found for found in held if isinstance(found, Measured) and found.plan.rule is None]
    pooled = PooledCut(threshold_in_memory(bench, counted, request_rule.rule)) if counted else None
    counted.clear()
    held.reverse()
    while held:
        found = held.pop()  # let go of every tensor as soon as it is sent
        if isinstance(found, Outcome):
            yield found
        elif found.plan.rule is not None:
            yield finish(bench, found, choose(bench, found, found.plan.rule), found.plan.rule)
        elif pooled:
            yield finish(bench, found, pooled.choose(bench, found), request_rule)


def _read(bench: Workbench, stream: ByteStream, plan: Plan) -> Measured | Outcome:
    stored = stream.read(plan.entry.length_bytes, what=f"tensor {shorten(repr(plan.entry.name))}")
    if plan.reason is not None:
        return pass_through(plan, plan.reason, stored, bench.request)
    return measure(bench, plan, stored)


def _check_sketch(request: Request, planning: Planning) -> None:
    """Refuse a sketch of fewer weights than this stream alone brings."""
    sketch = request.sketch
    if sketch is None:
        return
    counted = sum(plan.weights for plan in planning.compressible if plan.rule is None)
    if not request.pass_nonfinite and counted > sketch.weights:
        message = (
            f"options.sketch counts {sketch.weights} weights, this stream alone has {counted}: it belongs to other weights"
        )
        raise InvalidRequest(message, reason="INVALID_SKETCH", field="options.sketch")
