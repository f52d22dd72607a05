"""Error budgets over weights that no call holds: passes count their costs, then one threshold over the costs cuts.

The first pass takes the layers last first and carries back what the outputs feel of each neuron, one layer at a time. Its
sketch hands that on, so that later passes take the tensors in any order. Of mean squares alone: costs in a box need bounds that
go forward first.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from ellq_kernels.contract import Weights
from ellq_math.network.budget import CostScales, Spending, has_room
from ellq_math.pool_units import pool_units
from ellq_math.pooling import fold
from ellq_math.rules import ErrorBudget
from ellq_math.sums import Array
from ellq_server.budgets import cut_keys
from ellq_server.byte_stream import ByteStream
from ellq_server.network_plans import neuron_axes
from ellq_server.planning import Plan, Planning
from ellq_server.pooled import PooledCut, SketchBuilder, threshold_of_sketch
from ellq_server.refusals import shorten
from ellq_server.scoped_rules import ScopedRule
from ellq_server.sentence import apply, finish, keep_all, read, receive
from ellq_server.sketches import MOST_NEURONS, Sketch, invalid_sketch
from ellq_server.walks import Walk
from ellq_server.workbench import Magnitudes, Measured, Outcome, Workbench


@dataclass(frozen=True)
class SketchedReply:
    """What a call knows of a network that it could not hold: what its budget spent."""

    budget: ErrorBudget
    cost: float
    """Sum of the costs of what was cut, rounded up."""

    @property
    def certified_error(self) -> float:
        """The certified error of the budget's grade."""
        return self.cost


def count_costs(bench: Workbench, stream: ByteStream, planning: Planning, builder: SketchBuilder) -> Iterator[Outcome]:
    """Measure every tensor, and count the costs of those that the budget may cut.

    Errors: InvalidRequest (INVALID_TOPOLOGY) where no finite bound leads to the output, (INVALID_SKETCH).
    """
    walk = None if bench.graph is None else Walk(bench, bench.graph, planning)
    if walk:
        _demand_neurons(walk, planning)
    for plan in planning.plans:
        if walk:
            walk.reach(plan)
        yield _counted(bench, plan, read(stream, plan), walk, builder)  # without names, which would keep the weights
    if walk:
        walk.finish()


def _counted(bench: Workbench, plan: Plan, stored: memoryview, walk: Walk | None, builder: SketchBuilder) -> Outcome:
    """Return what becomes of a tensor once its costs are counted, if the budget may cut it."""
    found = receive(bench, plan, stored)
    if walk:
        walk.keep(plan, stored, found if isinstance(found, Measured) else None)
    if isinstance(found, Outcome):
        return found
    name = plan.entry.name
    if walk and name in walk.felt:
        builder.sensitivities[name] = walk.felt[name]
    if name in builder.sensitivities:
        builder.add(bench, _statistics(bench, found, price(bench, found, builder.sensitivities[name])))
    return Outcome(plan, None, found.without_weights())


def cut_by_sketch(
    bench: Workbench, stream: ByteStream, planning: Planning, sketch: Sketch, scoped: ScopedRule
) -> Generator[Outcome, None, SketchedReply]:
    """Cut every tensor by the threshold of a final sketch; return what that spent.

    Errors: InvalidRequest (INVALID_SKETCH) as soon as more is spent than the budget has, or when the sketch cuts another number
    of weights than it counts.
    """
    rule = scoped.rule
    assert isinstance(rule, ErrorBudget)
    threshold = threshold_of_sketch(sketch, rule, ignore_zeros=bench.request.ignore_zeros)
    pooled, spending, kept = PooledCut(threshold), Spending(pool_units(sketch.weights, p=1)), 0
    for plan in planning.plans:
        stored = read(stream, plan)
        found = receive(bench, plan, stored)
        if isinstance(found, Outcome):
            yield found
            continue
        choice, felt = keep_all(bench, found), sketch.sensitivities.get(plan.entry.name)
        if felt is not None:
            costs = price(bench, found, felt)
            choice = pooled.choose_by(bench, costs)
            spending.add(cut_keys(bench, costs, choice))
            kept += int(choice.cut.kept.sum())
        if rule.max_error is not None and spending.cost > rule.max_error:
            raise invalid_sketch(f"it cuts more than the budget of {rule.max_error!r} pays for: it belongs to other weights")
        yield finish(bench, apply(bench, found, choice), scoped)
    if kept != threshold.kept:
        raise invalid_sketch(f"by it {threshold.kept} weights stay, of these {kept} do: it belongs to other weights")
    return SketchedReply(rule, spending.cost)


def check_sensitivities(sketch: Sketch, bench: Workbench, planning: Planning) -> None:
    """Refuse sensitivities of other tensors than those that the budget may cut. Errors: InvalidRequest (INVALID_SKETCH)."""
    weighted = neuron_axes(bench.graph)
    counted = {plan.entry.name: plan for plan in planning.compressible if plan.entry.name in weighted}
    for name in sketch.sensitivities.keys() ^ counted.keys():
        told = "lacks" if name in counted else "has"
        raise invalid_sketch(f"it {told} sensitivities of tensor {shorten(repr(name))}: it belongs to other tensors")
    for name, felt in sketch.sensitivities.items():
        if len(felt) != counted[name].neurons:
            told = f"tensor {shorten(repr(name))} has {counted[name].neurons} neurons, the sketch {len(felt)} sensitivities"
            raise invalid_sketch(f"{told}: it belongs to other tensors")
    weights = sum(plan.weights for plan in counted.values())
    if sketch.weights != weights:
        raise invalid_sketch(f"it counts {sketch.weights} weights, the budget is over {weights}: it belongs to other weights")


def price(bench: Workbench, measured: Measured, felt: Array) -> Weights:
    """Return the costs of a tensor's weights, in the kernels' hands. Shape of `felt`: (neurons,).

    Errors: InvalidRequest (INVALID_SKETCH) when they leave the range of a double.
    """
    moments = bench.moments_of(measured.plan)
    assert moments is not None  # demanded of every tensor that a budget may cut
    scales = CostScales(felt, moments.roots.reshape(-1, measured.plan.fan_in))
    if not has_room(float(measured.layer.max_magnitude[0]), scales):
        raise invalid_sketch(f"costs of tensor {shorten(repr(measured.plan.entry.name))} leave the range of a double")
    with bench.stopwatch("price"):
        return bench.kernels.weigh(measured.weights, scales.rows, scales.columns)


def _statistics(bench: Workbench, measured: Measured, costs: Weights) -> Magnitudes:
    """Return costs and their statistics; the zeros are those of the weights, which `ignore_zeros` speaks of."""
    with bench.stopwatch("measure"):
        neurons = bench.kernels.measure(costs, bench.orders)
    return Magnitudes(costs, neurons, replace(fold(neurons), zeros=measured.layer.zeros))


def _demand_neurons(walk: Walk, planning: Planning) -> None:
    neurons = sum(plan.neurons for plan in planning.compressible if plan.entry.name in walk.layers)
    if neurons == 0:
        raise invalid_sketch("no layer of the network is compressible: the budget has nothing to cut")
    if neurons > MOST_NEURONS:
        raise invalid_sketch(f"the budget is over {neurons} neurons; a sketch carries sensitivities of at most {MOST_NEURONS}")
