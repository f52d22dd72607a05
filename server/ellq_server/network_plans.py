"""What a network and moments ask of the tensors of a stream, checked from the header alone."""

import math
from collections.abc import Mapping

from ellq_math.dtypes import WEIGHT_DTYPES
from ellq_math.grades import Grade
from ellq_math.network.knowledge import Moments
from ellq_math.network.nodes import Conv, Linear
from ellq_math.network.quadratic import check_moments
from ellq_math.network.topology import Graph
from ellq_math.rules import ErrorBudget, Lasso
from ellq_server.header import TensorEntry
from ellq_server.moments import invalid_moments, moments_of
from ellq_server.networks import FIELD, network_refusals
from ellq_server.planning import Plan, Planning
from ellq_server.refusals import InvalidRequest, shorten
from ellq_server.requests import Request
from ellq_server.scoped_rules import Scope

Axes = tuple[int, ...]


def read_network(request: Request, tensors: tuple[TensorEntry, ...]) -> Graph | None:
    """Return the graph of a request over the tensors of a stream. Errors: InvalidRequest (INVALID_TOPOLOGY)."""
    if request.network is None:
        return None
    graph = request.network.graph({entry.name: entry.shape for entry in tensors})
    dtypes = {entry.name: entry.dtype for entry in tensors}
    for name in graph.tensors:
        if dtypes[name] not in WEIGHT_DTYPES:
            message = (
                f"the network uses tensor {shorten(repr(name))} of dtype {dtypes[name]}; it can use {', '.join(WEIGHT_DTYPES)}"
            )
            raise InvalidRequest(message, reason="INVALID_TOPOLOGY", field=f"{FIELD}.topology")
    return graph


def neuron_axes(graph: Graph | None) -> Mapping[str, Axes]:
    """Return the axes that number the neurons of a network's tensors of weights."""
    return {weight: axes for weight, axes, _ in _layers(graph)}


def check_axes(graph: Graph | None, planning: Planning) -> None:
    """Refuse overrides that take other axes for neurons than the network does.

    Errors: InvalidRequest (INVALID_NEURON_AXIS); (INVALID_TOPOLOGY) for a tensor whose neurons are rows to one node and columns
    to another: no choice of weights would suit both.
    """
    plans = {plan.entry.name: plan for plan in planning.compressible}
    known = neuron_axes(graph)
    for weight, axes, _ in _layers(graph):
        if weight not in plans:
            continue
        if known[weight] != axes:
            message = f"nodes take tensor {shorten(repr(weight))} both transposed and not; allowed is either, or to skip it"
            raise InvalidRequest(message, reason="INVALID_TOPOLOGY", field=f"{FIELD}.topology")
        if plans[weight].neuron_axis != axes:
            quoted, got = shorten(repr(weight)), list(plans[weight].neuron_axis)
            message = f"tensor {quoted} has neuron_axis {got} by an override; the network says {list(axes)}"
            raise InvalidRequest(message, reason="INVALID_NEURON_AXIS", field="options.selection.overrides")


def fit_moments(request: Request, planning: Planning, graph: Graph | None) -> dict[str, Moments]:
    """Return the moments of a request, held against the tensors.

    Errors: InvalidRequest (INVALID_MOMENTS) for those that do not fit, (MOMENTS_REQUIRED) for those that are missing.
    """
    plans = {plan.entry.name: plan for plan in planning.plans}
    layers = {weight: (axes, groups) for weight, axes, groups in _layers(graph)}
    found: dict[str, Moments] = {}
    for name, received in request.moments.items():
        if name not in plans:
            raise invalid_moments(f"moments of tensor {shorten(repr(name))}, which the stream does not have")
        axes, groups = layers.get(name, (plans[name].neuron_axis, None))
        fan_in = _fan_in(plans[name].entry, axes)
        found[name] = moments_of(received, name, fan_in=fan_in)
        with network_refusals():
            check_moments(found[name], groups=groups or len(received.second_moments) // fan_in, fan_in=fan_in)
        _check_groups(found[name], plans[name], axes, fan_in)
    _demand_moments(request, planning, found, frozenset(layers) if graph else None)
    return found


def _fan_in(entry: TensorEntry, axes: Axes) -> int:
    if len(entry.shape) < 2 or 0 in entry.shape:
        shape = f"tensor {shorten(repr(entry.name))} has shape {shorten(str(list(entry.shape)))}"
        raise invalid_moments(f"{shape}; moments are for tensors of weights, with two dimensions or more")
    return math.prod(length for axis, length in enumerate(entry.shape) if axis not in axes)


def _check_groups(moments: Moments, plan: Plan, axes: Axes, fan_in: int) -> None:
    groups, neurons = len(moments.second_moments) // fan_in, math.prod(plan.entry.shape[axis] for axis in axes)
    if neurons % groups:
        message = (
            f"tensor {shorten(repr(moments.tensor))} has moments of {groups} groups, which do not divide {neurons} neurons"
        )
        raise invalid_moments(message)


def _demand_moments(
    request: Request, planning: Planning, found: Mapping[str, Moments], weighted: frozenset[str] | None
) -> None:
    """Refuse a rule that needs moments which were not sent."""
    for plan in planning.compressible:
        scoped = plan.rule or request.rule
        moments = found.get(plan.entry.name)
        if scoped is None or (isinstance(scoped.rule, ErrorBudget) and plan.entry.name not in (weighted or ())):
            continue
        quoted = shorten(repr(plan.entry.name))
        if isinstance(scoped.rule, Lasso):
            if plan.widened:
                raise _cannot_hold(plan)
            if moments is None or moments.matrix is None:
                raise _required(f"the rule lasso needs moments with a matrix of tensor {quoted}, and there are none")
        elif isinstance(scoped.rule, ErrorBudget):
            if moments is None and scoped.rule.grade is Grade.MEAN_SQUARE:
                raise _required(f"an error budget of GRADE_MEAN_SQUARE needs moments of tensor {quoted}, and there are none")
        elif moments is None and scoped.scope is Scope.GLOBAL and request.weighs:
            message = f"an activation-aware rule of SCOPE_GLOBAL needs moments of tensor {quoted}, and there are none"
            raise _required(f"{message}; send them, exclude the tensor, or set magnitudes_only")


def _cannot_hold(plan: Plan) -> InvalidRequest:
    dtype, name = plan.entry.dtype, shorten(repr(plan.entry.name))
    message = f"the rule lasso writes new values, and tensor {name} of dtype {dtype} cannot hold them"
    return InvalidRequest(f"{message}; exclude it or give it another rule", reason="INVALID_RULE", field="options.rule")


def _required(message: str) -> InvalidRequest:
    return InvalidRequest(message, reason="MOMENTS_REQUIRED", field="moments")


def _layers(graph: Graph | None) -> list[tuple[str, Axes, int]]:
    """Return tensor, neuron axes and groups of every layer with weights."""
    found: list[tuple[str, Axes, int]] = []
    for step in graph.layers if graph else ():
        match step.node.operation:
            case Linear() as linear:
                found.append((linear.weight, (1,) if linear.transposed else (0,), 1))
            case Conv() as conv:
                found.append((conv.weight, (0,), conv.groups))
            case _:
                pass
    return found
