"""What nobody waits for any more ends in the middle, whichever grade it is at."""

import numpy as np
import pytest
from tests.math.network.networks import Pair, shapes_of

from ellq_math.grades import Grade
from ellq_math.interruption import Interrupted, end_if_unwanted, interruptible
from ellq_math.network.budget import cost_scales
from ellq_math.network.certify import certify_grade
from ellq_math.network.conv_norms import BLOCK, symbol_norm_bound
from ellq_math.network.intervals import up
from ellq_math.network.knowledge import Box, Knowledge, Moments
from ellq_math.network.linear_maps import BUFFER, position_blocks
from ellq_math.network.nodes import Activation, ActivationKind, Input, Linear, Node, Topology
from ellq_math.network.topology import read_graph
from ellq_math.spectral import GRAM_STEPS, gram_bound

LAYERS = 4


class Patience:
    """Waits for so many questions, and counts them."""

    def __init__(self, questions):
        self.left, self.asked = questions, 0

    def __call__(self):
        self.asked += 1
        self.left -= 1
        return self.left >= 0


def questions_of(compute):
    """Return how often a computation asks when it is let through to its end."""
    patience = Patience(10**9)
    with interruptible(patience):
        compute()
    return patience.asked


def network():
    rng = np.random.default_rng(0)
    tensors = {f"w{place}": rng.normal(size=(3, 3)) for place in range(LAYERS)}
    nodes, last = [Node("x", (), Input((3,)))], "x"
    for name in tensors:
        nodes += [Node(name, (last,), Linear(name)), Node(f"{name} relu", (name,), Activation(ActivationKind.RELU))]
        last = nodes[-1].name
    moments = {name: Moments(name, np.ones(3), np.eye(3)[np.newaxis]) for name in tensors}
    known = Knowledge(box=Box(np.array([-1.0]), np.array([1.0])), l2_radius=1.0, moments=moments)
    changed = {name: np.where(np.abs(one) > 0.5, one, 0.0) for name, one in tensors.items()}
    return read_graph(Topology(tuple(nodes)), shapes_of(tensors)), Pair(tensors, changed), known, list(tensors)


def certified(grade):
    graph, tensors, known, _ = network()
    return lambda: certify_grade(graph, tensors, known, grade)


def priced(grade):
    graph, tensors, known, names = network()
    return lambda: cost_scales(graph, tensors, known, grade=grade, names=names)


LONG = {
    **{f"certificate {grade.value}": (certified(grade), 2 * LAYERS) for grade in Grade},
    **{f"price {grade.value}": (priced(grade), 2 * LAYERS) for grade in (Grade.BOX, Grade.MEAN_SQUARE)},
    "symbols": (lambda: symbol_norm_bound(np.ones((BLOCK // 64, 1, 1, 3)), [200]), GRAM_STEPS),
    "gram": (lambda: gram_bound(np.ones((8, 8))), GRAM_STEPS),
    "windows": (lambda: list(position_blocks((100,), BUFFER)), 100),
    "a pass over values": (lambda: up(np.ones(3)), 1),
}


@pytest.mark.parametrize("case", LONG)
def test_a_long_computation_ends_at_any_question(case):
    compute, least = LONG[case]
    asked = questions_of(compute)
    assert asked >= least
    for questions in {0, asked // 2, asked - 1}:
        patience = Patience(questions)
        with pytest.raises(Interrupted), interruptible(patience):
            compute()
        assert patience.asked == questions + 1
    with interruptible(Patience(asked)):
        compute()


def test_who_does_not_say_how_long_waits_for_ever():
    with pytest.raises(Interrupted), interruptible(lambda: False):
        end_if_unwanted()
    end_if_unwanted()
