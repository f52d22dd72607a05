"""The walk from a network's outputs back to its input, along a stream that brings the layers last first."""

from ellq_math.grades import Grade
from ellq_math.network.groups import graph_groups
from ellq_math.network.nodes import Conv, Linear
from ellq_math.network.sensitivities import readouts, tensors_on_the_way, walk_back
from ellq_math.network.topology import Graph, Step
from ellq_math.sums import Array
from ellq_server.budgets import budget_refusals
from ellq_server.network_tensors import NetworkTensors
from ellq_server.networks import network_refusals
from ellq_server.planning import Plan, Planning
from ellq_server.refusals import InvalidRequest, shorten
from ellq_server.sketches import invalid_sketch
from ellq_server.workbench import Measured, Workbench

GAIN_BYTES = 96
"""A layer's weights as float64, their magnitudes, what they enlarge errors by, and passing copies."""

READOUT_BYTES = 32
"""What one readout feels of one group of values, and passing copies."""


def walk_bytes(graph: Graph, planning: Planning) -> int:
    """Return what a walk takes beside the tensor at hand: a layer in numbers, what is felt, and other tensors it asks for."""
    lengths = {plan.entry.name: plan.entry.length_bytes for plan in planning.plans}
    largest = others = 0
    for step, names in tensors_on_the_way(graph):
        if isinstance(step.node.operation, Linear | Conv):
            largest = max(largest, lengths[names[0]] + GAIN_BYTES * gains_of(step))
        else:
            others += sum(lengths[name] for name in names)
    groups = {name: found.count for name, found in graph_groups(graph).items()}
    return largest + others + READOUT_BYTES * readouts(groups.get(graph.output, 0)) * sum(groups.values())


def gains_of(step: Step) -> int:
    """Return how many weights a layer has once zeros between its groups of channels are written out, as gains are."""
    apart = step.node.operation.groups if isinstance(step.node.operation, Conv) else 1
    return apart * step.fan_in * (step.shape or (1,))[0]


class Walk:
    """Carries sensitivities from layer to layer, and lets go of the weights of one before those of the next are read."""

    def __init__(self, bench: Workbench, graph: Graph, planning: Planning) -> None:
        """Begin at the outputs. Errors: InvalidRequest (INVALID_SKETCH) when the stream has the layers in another order."""
        self.layers = _layers_in_order(graph, {plan.entry.name: plan.position for plan in planning.plans})
        """Tensors of weights, last layer first."""
        self.felt: dict[str, Array] = {}
        """What the outputs feel of the neurons of each layer that was reached. Shape: (neurons,) each."""
        needed = [name for _, names in tensors_on_the_way(graph) for name in names]
        self._bench = bench
        self._tensors = NetworkTensors(needed, bench.kernels)
        self._steps = walk_back(graph, self._tensors.original, Grade.MEAN_SQUARE)
        self._last: str | None = None

    def reach(self, plan: Plan) -> None:
        """Walk on to this tensor's layer, if it is the tensor of one; its bytes are not needed yet.

        Errors: InvalidRequest (INVALID_TOPOLOGY) where no finite bound leads on.
        """
        if plan.entry.name in self.layers:
            self._advance()

    def keep(self, plan: Plan, stored: memoryview, measured: Measured | None) -> None:
        """Keep a tensor that came, if the walk needs it; `measured` unless it passes through."""
        self._tensors.keep(plan, stored, measured)

    def finish(self) -> None:
        """Walk on to the input. Errors: as for `reach`."""
        self._advance()

    def _advance(self) -> None:
        with network_refusals(), budget_refusals(), self._bench.stopwatch("price"):
            reached = next(self._steps, None)
        if self._last is not None:
            self._tensors.drop(self._last)
        if reached is not None:
            self._last, self.felt[reached[0]] = reached[0], reached[1]


def _layers_in_order(graph: Graph, places: dict[str, int]) -> tuple[str, ...]:
    """Return the tensors of weights, last layer first, when each stands behind all that the walk asks for before it."""
    layers: dict[str, str] = {}
    awaited: list[str] = []
    for step, names in tensors_on_the_way(graph):
        if not isinstance(step.node.operation, Linear | Conv):
            awaited += names  # of a batch normalisation
            continue
        (weight,) = names
        if weight in layers:
            shared = f"tensor {shorten(repr(weight))} is used by several nodes: {layers[weight]!r} and {step.node.name!r}"
            raise invalid_sketch(f"{shared}; an error budget over such tensors is for payloads that are held")
        for wanted in awaited:
            if places[wanted] > places[weight]:
                raise _out_of_order(wanted=wanted, got=weight)
        layers[weight], awaited = step.node.name, [weight]
    return tuple(layers)


def _out_of_order(*, wanted: str, got: str) -> InvalidRequest:
    came = f"the stream brings tensor {shorten(repr(got))} where {shorten(repr(wanted))} is wanted"
    return invalid_sketch(f"{came}: in the first pass of an error budget send tensors last layer first")
