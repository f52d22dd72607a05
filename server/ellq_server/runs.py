"""Small tensors that follow one another are worked on together: rows of one length are rows of one matrix.

What a kernel or numpy takes to begin is more than what it takes for a few thousand weights. Everything at neuron scope knows no
row from another, so what is found of a row has the same bits in whatever matrix it lies.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from ellq_math.blocks import BLOCK_ROWS
from ellq_math.pooling import fold
from ellq_math.rules import Lasso
from ellq_server.layout import is_neuron_major
from ellq_server.planning import Plan
from ellq_server.proofs import NeuronProof, prove_neurons, prove_tensor
from ellq_server.refusals import NonfiniteWeight
from ellq_server.scoped_rules import Scope
from ellq_server.sentence import change, measure
from ellq_server.workbench import Changed, Choice, Measured, Outcome, Workbench

RUN_BYTES = 1 << 20
"""Bytes of a run of several tensors: as many as wait for each other's reports anyway (replies.BATCH_BYTES)."""

RUN_ROWS = BLOCK_ROWS
"""Neurons of one: what is kept of each is many times as large as the smallest rows."""

RUN_TENSORS = 1 << 9
"""Tensors of one: a report, too, is many times as large as the smallest of them, and who has left is noticed between runs."""


@dataclass(frozen=True)
class Arrived:
    """A tensor whose bytes have been read."""

    plan: Plan
    stored: memoryview


def runs_of(plans: Sequence[Plan]) -> Iterator[list[Plan]]:
    """Yield all plans in their order, as many at a time as RUN_BYTES, RUN_ROWS and RUN_TENSORS allow, or one."""
    run: list[Plan] = []
    room_bytes, room_rows = RUN_BYTES, RUN_ROWS
    for plan in plans:
        rows = plan.neurons if plan.reason is None else 0
        if run and (plan.entry.length_bytes > room_bytes or rows > room_rows or len(run) == RUN_TENSORS):
            yield run
            run, room_bytes, room_rows = [], RUN_BYTES, RUN_ROWS
        run.append(plan)
        room_bytes -= plan.entry.length_bytes
        room_rows -= rows
    if run:
        yield run


def work_together(bench: Workbench, run: Sequence[Arrived]) -> list[Arrived | Outcome]:
    """Return a run with outcomes in place of the tensors that can be worked on together.

    Those with weights that are not finite stay as they came: alone, each tells of itself. Errors: CertificateRefuted, naming
    the first and the last of those that were together.
    """
    alike: defaultdict[object, list[Arrived]] = defaultdict(list)
    for one in run:
        if _knows_no_row_from_another(bench, one.plan):
            alike[one.plan.entry.dtype, one.plan.fan_in, one.plan.rule].append(one)
    found: dict[int, Outcome] = {}
    for several in alike.values():
        if len(several) > 1:
            with suppress(NonfiniteWeight):
                found |= {outcome.plan.position: outcome for outcome in _as_one(bench, several)}
    return [found.get(one.plan.position, one) for one in run]


def _knows_no_row_from_another(bench: Workbench, plan: Plan) -> bool:
    scoped = plan.rule or bench.request.rule
    if plan.reason is not None or plan.widened or not is_neuron_major(plan):
        return False
    if bench.needs_original(plan) or bench.request.distribution:
        return False
    return scoped is None or (scoped.scope is Scope.NEURON and not isinstance(scoped.rule, Lasso))


def _as_one(bench: Workbench, several: Sequence[Arrived]) -> Iterator[Outcome]:
    """Yield the outcomes of tensors with one dtype, fan-in and rule; nothing if one passes through for what it holds."""
    first = several[0].plan
    ends = list(accumulate((one.plan.neurons for one in several), initial=0))
    name = f"{first.entry.name} to {several[-1].plan.entry.name}"
    entry = replace(first.entry, name=name, shape=(ends[-1], first.fan_in))
    joined = memoryview(bytearray().join(one.stored for one in several))
    measured = measure(bench, replace(first, entry=entry, neuron_axis=(0,)), joined)
    if isinstance(measured, Outcome):
        return
    scoped = first.rule or bench.request.rule
    parts = [(one.plan, slice(*rows)) for one, rows in zip(several, pairwise(ends), strict=True)]
    if scoped is None:
        yield from (Outcome(plan, None, _measured(measured, plan, rows)) for plan, rows in parts)
        return
    changed = change(bench, measured, scoped)
    proved = prove_neurons(bench, changed, scoped)
    with bench.stopwatch("write"):
        payload = bench.kernels.payload(measured.weights) if bench.request.sends_weights else None
    row_bytes = len(joined) // ends[-1]
    for plan, rows in parts:
        mine = None if payload is None else payload[rows.start * row_bytes : rows.stop * row_bytes]
        yield _outcome(bench, changed, proved, plan, rows, mine)


def _outcome(
    bench: Workbench, changed: Changed, proved: NeuronProof, plan: Plan, rows: slice, payload: memoryview | None
) -> Outcome:
    assert changed.choice is not None  # only LASSO makes none
    cut = changed.choice.cut[rows]
    choice = Choice(
        cut,
        kept_floor=None if changed.choice.kept_floor is None else changed.choice.kept_floor[rows],
        kept_within=None if changed.choice.kept_within is None else int(cut.kept.sum()),
    )
    measured = _measured(changed.measured, plan, rows)
    part = Changed(measured, changed.kept[rows], changed.tails[rows], choice)
    return Outcome(plan, None, measured, prove_tensor(bench, part, proved[rows]), payload)


def _measured(whole: Measured, plan: Plan, rows: slice) -> Measured:
    neurons = whole.neurons[rows]
    return replace(whole, plan=plan, weights=None, neurons=neurons, layer=fold(neurons))
