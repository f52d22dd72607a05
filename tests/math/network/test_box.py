import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from tests.math.network.by_definition import exactly, forward
from tests.math.network.networks import RATIONAL_ACTIVATIONS, Pair, pruned, random_network, shapes_of

from ellq_math.network.box import certify_box
from ellq_math.network.findings import EndingReason
from ellq_math.network.intervals import Interval, point
from ellq_math.network.knowledge import Box, InvalidInputs, Knowledge
from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.linear_maps import Dense, enclose
from ellq_math.network.nodes import (
    Activation,
    ActivationKind,
    Add,
    BatchNorm,
    Conv,
    Input,
    Linear,
    Node,
    Topology,
    Unbounded,
)
from ellq_math.network.topology import read_graph
from ellq_math.sums import UNIT_ROUNDOFF

RELU = Activation(ActivationKind.RELU)


def certify(topology, before, after, low, high):
    knowledge = Knowledge(box=Box(np.atleast_1d(low), np.atleast_1d(high)))
    return certify_box(read_graph(topology, shapes_of(before)), Pair(before, after), knowledge)


def case(seed, **choices):
    """Return a random network, its tensors before and after, a box, and inputs in it, half of them corners."""
    rng = np.random.default_rng(seed)
    topology, before = random_network(rng, **choices)
    after = pruned(before, rng, share=rng.choice([0.0, 0.1, 0.5, 1.0]), moved=rng.choice([0.0, 0.2]))
    shape = topology.nodes[0].operation.shape
    centre = rng.normal(size=shape)
    radius = rng.choice([0.0, 1e-6, 0.1, 1.0]) * rng.random(shape)
    low, high = centre - radius, centre + radius
    inside = np.clip(rng.uniform(low, high, (4, *shape)), low, high)
    corners = np.where(rng.random((4, *shape)) < 0.5, low, high)
    return topology, before, after, low.ravel(), high.ravel(), np.concatenate([inside, corners])


def exact_forward(topology, tensors, x):
    return forward(topology, {name: exactly(tensor) for name, tensor in tensors.items()}, exactly(x))


def chain(shape, *operations):
    nodes = [Node("0", (), Input(shape))]
    nodes += [Node(str(place), (str(place - 1),), operation) for place, operation in enumerate(operations, 1)]
    return Topology(tuple(nodes))


@pytest.mark.parametrize("seed", range(25))
def test_no_value_of_any_node_ever_moves_further(seed):
    """In fractions: what is compared with the bounds is the truth."""
    topology, before, after, low, high, x = case(seed, activations=RATIONAL_ACTIVATIONS, softmax=False, batch_norm=False)
    values = [
        forward(topology, {name: exactly(one) for name, one in tensors.items()}, exactly(x)) for tensors in (before, after)
    ]
    for node in topology.nodes:
        found = certify(replace(topology, output=node.name), before, after, low, high).certificate
        moved = np.abs(values[1][node.name] - values[0][node.name]).reshape(len(x), -1)
        bounds = exactly(found.output_errors)
        assert found.node == node.name
        assert (moved <= bounds).all()
        assert max(bounds) == Fraction(found.output_error_max)
        assert sum(bounds**2) <= Fraction(found.output_error_l2) ** 2


@pytest.mark.parametrize("seed", range(100, 180))
def test_no_output_moves_further_but_for_the_roundings_of_the_measurement(seed):
    topology, before, after, low, high, x = case(seed, steps=8)
    values = [forward(topology, tensors, x) for tensors in (before, after)]
    noise = sum(measurement_noise(topology, tensors, one) for tensors, one in zip((before, after), values, strict=True))
    found = certify(topology, before, after, low, high)
    assert not found.endings
    moved = np.abs(values[1][found.certificate.node] - values[0][found.certificate.node]).reshape(len(x), -1)
    assert (moved <= found.certificate.output_errors + noise).all()
    for layer in found.layers:
        moved = np.abs(values[1][layer.node] - values[0][layer.node])
        assert moved.max() <= layer.error_max + noise
        assert np.sqrt((moved**2).reshape(len(x), -1).sum(axis=1)).max() <= layer.error_l2 + noise * math.sqrt(moved[0].size)


def measurement_noise(topology, tensors, values):
    """Return a bound of the rounding errors of all values of a forward pass in float64, in the sup norm.

    A step hands on what it takes times its largest row of magnitudes, and adds 64 roundings, or two for each term, of the
    magnitudes it sums up. (Slopes are below 2 for all activations.)
    """
    noise = {}
    for step in read_graph(topology, shapes_of(tensors)).steps:
        operation, name = step.node.operation, step.node.name
        taken = sum(noise[one] for one in step.node.inputs)
        size = 1 + sum(np.abs(values[one]).max() for one in (name, *step.node.inputs))
        match operation:
            case Input():
                gain = 0.0
            case Linear(weight) | Conv(weight):
                gain = np.abs(layer_rows(operation, tensors[weight])).sum(axis=1).max()
            case BatchNorm(mean, variance, epsilon, weight):
                gain = (np.abs(tensors[weight]) / np.sqrt(tensors[variance] + epsilon)).max()
                size += np.abs(tensors[mean]).max()
            case _:
                gain = max(2.0, *map(abs, getattr(operation, "scale", ())), 0.0)
        noise[name] = gain * taken + (64 + 2 * step.fan_in) * UNIT_ROUNDOFF * (1 + gain) * size
    return max(noise.values())


def test_one_linear_layer_is_exact_up_to_roundings():
    rng = np.random.default_rng(1)
    before = {"w": rng.normal(size=(5, 7)), "b": rng.normal(size=5)}
    after = pruned(before, rng, moved=0.1)
    low, high = -rng.random(7), rng.random(7)
    found = certify(chain((7,), Linear("w", "b")), before, after, low, high)
    changes = exactly(after["w"]) - exactly(before["w"])
    ends = changes * exactly(low), changes * exactly(high)
    exact = np.maximum(np.maximum(*ends).sum(axis=1), -np.minimum(*ends).sum(axis=1))
    sizes = np.maximum(*map(np.abs, ends)).sum(axis=1).astype(float)
    excess = (exactly(found.certificate.output_errors) - exact).astype(float)
    assert (excess >= 0).all()
    assert (excess <= 8 * (7 + 8) * UNIT_ROUNDOFF * sizes).all()
    (layer,) = found.layers
    assert layer.own_error_max <= layer.error_max * (1 + 2.0**-45)
    assert layer.error_max == found.certificate.output_error_max


def test_a_positive_relu_network_is_exact_up_to_roundings():
    """All errors are worst at the same input, the upper corner."""
    rng = np.random.default_rng(2)
    before = {name: rng.random((6, 6)) for name in "abc"}
    after = pruned(before, rng)
    topology = chain((6,), Linear("a"), RELU, Linear("b"), RELU, Linear("c"))
    found = certify(topology, before, after, 0.0, 1.0)
    first, second = (exact_forward(topology, tensors, np.ones((1, 6)))["5"][0] for tensors in (before, after))
    exact = first - second
    bounds = exactly(found.certificate.output_errors)
    assert (bounds >= exact).all()
    assert (bounds <= exact * (1 + Fraction(1, 2**44))).all()  # five steps of 6 terms each, below 512 roundings in all


def test_a_relu_that_is_surely_off_lets_no_error_through():
    before = {"w": np.array([[1.0, -1.0], [1.0, 1.0]]), "b": np.array([-5.0, 5.0])}
    after = {"w": np.array([[1.0, 0.0], [0.0, 1.0]]), "b": before["b"]}
    found = certify(chain((2,), Linear("w", "b"), RELU), before, after, -1.0, 1.0)
    assert found.certificate.output_errors[0] == 0
    assert found.certificate.output_errors[1] == pytest.approx(1, rel=2.0**-45)  # 2 terms: below 64 roundings


def test_errors_never_exceed_what_both_ranges_allow():
    """An error of 100 before a sigmoid cannot move it by more than 1."""
    before, after = {"w": np.array([[100.0]])}, {"w": np.array([[-100.0]])}
    found = certify(chain((1,), Linear("w"), Activation(ActivationKind.SIGMOID)), before, after, -1.0, 1.0)
    assert found.certificate.output_error_max <= 1 + 2.0**-44


def test_an_unchanged_network_has_no_error():
    for seed in range(20):
        topology, before, _, low, high, _ = case(seed)
        found = certify(topology, before, before, low, high)
        assert found.certificate.output_error_max == found.certificate.output_error_l2 == 0
        assert {layer.error_max for layer in found.layers} == {0.0}


def test_bounds_by_value_add_up_to_the_norms():
    topology, before, after, low, high, _ = case(7)
    found = certify(topology, before, after, low, high).certificate
    assert found.output_error_max == found.output_errors.max()
    assert found.output_error_l2 == pytest.approx(np.linalg.norm(found.output_errors), rel=2.0**-40)


BRANCHED = Topology(
    (
        Node("x", (), Input((2,))),
        Node("a", ("x",), Linear("w")),
        Node("b", ("a",), RELU),
        Node("lost", ("a",), Unbounded("layer norm")),
        Node("c", ("b",), Linear("w")),
        Node("d", ("lost",), Linear("w")),
        Node("y", ("c", "d"), Add()),
    )
)


def test_behind_an_unbounded_step_the_certificate_speaks_of_the_longest_prefix():
    before, after = {"w": np.eye(2)}, {"w": np.array([[1.0, 0.0], [0.0, 0.5]])}
    found = certify(BRANCHED, before, after, -1.0, 1.0)
    assert found.certificate.node == "c"
    assert [layer.node for layer in found.layers] == ["a", "c"]
    (ending,) = found.endings
    assert (ending.node, ending.reason) == ("lost", EndingReason.UNBOUNDED)
    assert ending.text == "no bound is known for layer norm"


def test_overflow_ends_the_certificate_by_name():
    before, after = {"w": np.full((2, 2), 1e200)}, {"w": np.zeros((2, 2))}
    found = certify(chain((2,), Linear("w"), RELU, Linear("w"), RELU), before, after, -1.0, 1.0)
    assert found.certificate.node == "2"
    (ending,) = found.endings
    assert (ending.node, ending.reason) == ("3", EndingReason.OVERFLOW)
    assert [layer.node for layer in found.layers] == ["1"]
    assert all(math.isfinite(one) for layer in found.layers for one in (layer.own_error_max, layer.error_l2))


def test_without_a_bound_of_the_input_there_is_no_certificate():
    found = certify(chain((2,), RELU), {}, {}, -1e308, 1e308)
    assert found.certificate is None
    assert found.endings[0].reason is EndingReason.OVERFLOW


@pytest.mark.parametrize(
    ("low", "high", "where"),
    [((-1.0,) * 2, (1.0,) * 2, "box.low"), ((-1.0,) * 3, (1.0,) * 2, "box"), ((0.0,), (1.0,) * 2, "box.high")],
)
def test_boxes_of_other_inputs_are_refused(low, high, where):
    with pytest.raises(InvalidInputs) as refusal:
        certify(chain((3,), RELU), {}, {}, low, high)
    assert refusal.value.where == where


def test_without_a_box_there_is_nothing_to_say():
    with pytest.raises(InvalidInputs, match="no box"):
        certify_box(read_graph(chain((3,), RELU), {}), Pair({}, {}), Knowledge())


def test_a_sum_that_overflows_on_its_way_bounds_nothing():
    """1e308 * -1.8 lies beyond a double, and what follows brings it back. Clipped values move by 10 and 20, and so they may."""
    most = 1e308
    before = {
        "a": np.array([[0.9], [0.9], [0.9], [0.0], [-1.0]]),
        "b": np.array([[most, -most / 2, -most / 2, 20.0, 0.0], [0.0, 0.0, 0.0, 0.0, 10.0]]),
        "c": np.array([[1.0, 1.0]]),
    }
    after = before | {"a": np.array([[-0.9], [-0.9], [-0.9], [1.0], [1.0]])}
    clip = Activation(ActivationKind.CLIP, (-10.0, 10.0))
    topology = chain((1,), Linear("a"), Linear("b"), clip, Linear("c"))
    moved = exact_forward(topology, after, np.ones((1, 1)))["4"] - exact_forward(topology, before, np.ones((1, 1)))["4"]
    assert moved.item() == 30
    found = certify(topology, before, after, 1.0, 1.0)
    assert found.certificate.node == "4"
    assert found.certificate.output_error_max >= 30


def test_bounds_that_have_passed_each_other_are_none():
    assert not Interval(np.array([0.0, 1.0]), np.array([0.0, -1.0])).is_bounded()
    assert not Interval(np.array([-math.inf]), np.array([0.0])).is_bounded()
    assert not Interval(np.array([math.nan]), np.array([0.0])).is_bounded()
    assert Interval(np.array([0.0, -1.0]), np.array([0.0, 1.0])).is_bounded()


@pytest.mark.parametrize("weight", [math.inf, math.nan, 1e308])
def test_an_enclosure_of_what_overflows_is_everything(weight):
    with np.errstate(all="ignore"):
        found = enclose(Dense(2), np.array([[weight, -weight], [1.0, 0.0]]), point(np.array([1.9, 1.9])))
    assert (found.low[0], found.high[0]) == (-math.inf, math.inf)
    assert found.low[1] <= 1.9 <= found.high[1]
