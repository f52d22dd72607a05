"""All grades together: what is said once, and what a certificate is not confused by."""

import numpy as np
import pytest
from tests.math.network.networks import Pair, shapes_of

from ellq_math.network.certify import certify
from ellq_math.network.findings import EndingReason, Grade
from ellq_math.network.knowledge import Box, Knowledge
from ellq_math.network.nodes import Activation, ActivationKind, Input, Linear, Node, Topology, Unbounded
from ellq_math.network.topology import read_graph

IN_BOX = Knowledge(box=Box(np.zeros(1), np.ones(1)))
RELU = Activation(ActivationKind.RELU)


def chain(*operations):
    names = [f"n{place}" for place in range(len(operations))]
    return Topology(tuple(Node(names[i], tuple(names[i - 1 : i]) if i else (), one) for i, one in enumerate(operations)))


def certified(topology, before, after, known=IN_BOX, **options):
    return certify(read_graph(topology, shapes_of(before)), Pair(before, after), known, **options)


def test_an_ending_that_several_grades_meet_is_told_once():
    weights = {"w": np.ones((2, 3))}
    found = certified(chain(Input((3,)), Linear("w"), Unbounded("layer norm")), weights, weights)
    assert [(ending.node, ending.reason) for ending in found.endings] == [("n2", EndingReason.UNBOUNDED)]
    assert {one.grade for one in found.grades} == {Grade.BOX, Grade.BALL}
    assert (found.node, found.reaches_output) == ("n1", False)


def test_nothing_is_certified_before_the_first_layer():
    weights = {"w": np.ones((2, 3))}
    found = certified(chain(Input((3,)), RELU, Unbounded("layer norm"), Linear("w")), weights, weights)
    assert (found.grades, found.tightest, found.node) == ((), None, "")
    assert [ending.node for ending in found.endings] == ["n2"]


def test_a_network_without_layers_is_certified_to_its_output():
    found = certified(chain(Input((3,)), RELU), {}, {})
    assert [(one.grade, one.node, one.output_error_max) for one in found.grades] == [
        (Grade.BOX, "n1", 0.0),
        (Grade.BALL, "n1", 0.0),
    ]


def test_a_tensor_of_two_layouts_is_no_trouble_beside_dead_neurons():
    before = {"tied": np.ones((3, 3)), "hidden": np.ones((4, 3)), "out": np.ones((2, 4))}
    cut = before["out"].copy()
    cut[:, 2] = 0.0
    topology = chain(Input((3,)), Linear("tied"), Linear("tied", transposed=True), Linear("hidden"), Linear("out"))
    found = certified(topology, before, before | {"out": cut})
    assert found.reaches_output
    assert found.grades[0].output_error_max == pytest.approx(27, rel=2.0**-40)  # 3 x 3 x 3: all of the third hidden neuron


def test_broken_tensors_are_named():
    weights = {"w": np.full((2, 3), np.nan)}
    found = certified(chain(Input((3,)), Linear("w")), weights, weights, nonfinite=["w"])
    (ending,) = found.endings
    assert (ending.node, ending.reason) == ("n1", EndingReason.NONFINITE)
    assert "'w'" in ending.text
