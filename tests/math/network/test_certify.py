"""All grades together: what is said once, and what a certificate is not confused by."""

import numpy as np
import pytest
from tests.math.network.networks import Pair, shapes_of

from ellq_math.grades import Grade
from ellq_math.network.certify import certify
from ellq_math.network.findings import EndingReason
from ellq_math.network.knowledge import Box, Knowledge, Moments
from ellq_math.network.nodes import Activation, ActivationKind, BatchNorm, Input, Linear, Node, Topology, Unbounded
from ellq_math.network.topology import InvalidTopology, read_graph

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


def test_the_tensor_that_is_broken_is_named_and_no_other():
    weights = {"w": np.ones((2, 3)), "b": np.array([np.nan, 0.0])}
    (ending,) = certified(chain(Input((3,)), Linear("w", "b")), weights, weights, nonfinite=["b"]).endings
    assert "tensor 'b'" in ending.text


@pytest.mark.parametrize("transposed", [False, True])
def test_what_happens_to_dead_neurons_moves_no_output(transposed):
    """The third hidden neuron is seen by nobody: its weights may go, and only its layer tells that they went."""
    shape = (3, 4) if transposed else (4, 3)
    before = {"hidden": np.ones(shape), "out": np.array([[1.0, 1.0, 0.0, 1.0], [1.0, 2.0, 0.0, 1.0]])}
    cut = np.where(np.arange(4) == 2, 0.0, np.ones((3, 4)))
    topology = chain(Input((3,)), Linear("hidden", transposed=transposed), Linear("out"))
    found = certified(topology, before, before | {"hidden": cut if transposed else cut.T})
    assert found.reaches_output
    assert [one.output_error_max for one in found.grades] == [0, 0]
    assert {effect.node: effect.own_error_max > 0 for effect in found.layers} == {"n1": True, "n2": False}


def test_the_tightest_is_the_smallest_error_of_the_furthest_node():
    """Of x_1 alone the box says 0.5, a ball of sqrt 3 that; a ball of radius 1/4 less. Moments end before the second layer."""
    before = {"a": np.eye(3), "b": np.eye(3)}
    changed = before | {"b": np.diag([0.5, 1.0, 1.0])}
    topology = chain(Input((3,)), Linear("a"), Linear("b"))
    moments = {"a": Moments("a", np.ones(3))}
    for radius, tightest in ((2.0, Grade.BOX), (0.25, Grade.BALL)):
        box = Box(np.full(1, -1.0), np.ones(1)) if tightest is Grade.BOX else None
        found = certified(topology, before, changed, Knowledge(box=box, l2_radius=radius, moments=moments))
        assert (found.node, found.tightest) == ("n2", tightest)
        assert found.reaches_output


def test_margins_are_held_against_errors_at_every_input_or_in_the_mean():
    """One output moves by x_1 / 4, so margins above sqrt 2 / 4 hold in the box; in the mean two fit into 4 / 16."""
    before, changed = {"w": np.eye(2)}, {"w": np.diag([0.75, 1.0])}
    known = Knowledge(
        box=Box(np.full(1, -1.0), np.ones(1)), moments={"w": Moments("w", np.ones(2))}, margins=np.array([0.3, 0.6, 0.6, 0.6])
    )
    found = {
        one.grade: one.unchanged_share for one in certified(chain(Input((2,)), Linear("w")), before, changed, known).grades
    }
    assert found[Grade.BOX] == pytest.approx(0.75)
    assert found[Grade.MEAN_SQUARE] == pytest.approx(0.5)
    ended = certified(chain(Input((2,)), Linear("w"), Unbounded("layer norm")), before, changed, known)
    assert {one.unchanged_share for one in ended.grades} == {None}


def test_a_negative_variance_is_refused_whatever_is_known():
    tensors = {"mean": np.zeros(2), "variance": np.array([1.0, -1.0])}
    with pytest.raises(InvalidTopology, match=r"'n1'.* 'variance' is -1\.0 at index 1"):
        certified(chain(Input((2,)), BatchNorm("mean", "variance", epsilon=1.0)), tensors, tensors, Knowledge())
