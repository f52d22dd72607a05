"""Small random networks and what comes with them. What they compute is in by_definition.py."""

import math
from dataclasses import dataclass

import numpy as np
from tests.math.network.by_definition import evaluate, forward

from ellq_math.network.nodes import (
    Activation,
    ActivationKind,
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    GlobalMean,
    Input,
    Linear,
    Node,
    Pool,
    PoolKind,
    Reshape,
    Softmax,
    Topology,
)

__all__ = ["ACTIVATIONS", "RATIONAL_ACTIVATIONS", "Pair", "evaluate", "forward", "pruned", "random_network", "shapes_of"]

PARAMETERS = {ActivationKind.LEAKY_RELU: (0.1,), ActivationKind.CLIP: (-0.5, 1.25), ActivationKind.ELU: (0.75,)}
"""Of the activations that have any."""

ACTIVATIONS = tuple(Activation(kind, PARAMETERS.get(kind, ())) for kind in ActivationKind)

RATIONAL = ("identity", "relu", "leaky_relu", "clip", "hard_sigmoid", "hard_swish")
RATIONAL_ACTIVATIONS = tuple(one for one in ACTIVATIONS if one.kind.value in RATIONAL)
"""Those whose values are fractions where x is one."""


@dataclass(frozen=True)
class Pair:
    """Tensors before and after they were changed, as certificates ask for them."""

    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]

    def original(self, name):
        return self.before[name]

    def changed(self, name):
        return self.after[name]


def shapes_of(tensors):
    return {name: tensor.shape for name, tensor in tensors.items()}


def pruned(tensors, rng, *, share=0.5, moved=0.0):
    """Return the tensors with about `share` of the weights of matrices and kernels cut, and the rest moved by up to `moved`."""
    changed = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.ndim > 1:
            moves = moved * rng.uniform(-1, 1, tensor.shape)
            changed[name] = np.where(rng.random(tensor.shape) < share, 0.0, tensor + moves)
    return changed


def random_network(rng, *, steps=6, activations=ACTIVATIONS, softmax=True, batch_norm=True):
    """Return a topology of about `steps` steps and its tensors by name, float64; always with two layers or more."""
    sketch = _Sketch(rng, activations, batch_norm)
    shape = [(6,), (2, 9), (2, 6, 5)][rng.integers(3)]
    sketch.add(Input(shape), shape=shape)
    for _ in range(steps):
        sketch.vector_step() if len(sketch.shape) == 1 else sketch.spatial_step()
    if len(sketch.shape) > 1:
        sketch.add(Reshape())
    sketch.linear(4)
    sketch.activation()
    sketch.linear(3, transposed=True)
    if softmax and rng.random() < 0.2:
        sketch.add(Softmax())
    return Topology(tuple(sketch.nodes)), sketch.tensors


class _Sketch:
    """A network in the making: its last node is what the next takes."""

    def __init__(self, rng, activations, batch_norm):
        self.rng, self.activations, self.batch_norm = rng, activations, batch_norm
        self.nodes, self.tensors, self.shapes = [], {}, {}

    @property
    def last(self):
        return self.nodes[-1].name

    @property
    def shape(self):
        return self.shapes[self.last]

    def add(self, operation, *inputs, shape=None):
        """Append a node behind the last one, or behind `inputs`."""
        name = f"{len(self.nodes)}_{type(operation).__name__.lower()}"
        inputs = inputs or ((self.last,) if self.nodes else ())
        if shape is None:
            shape = evaluate(operation, [np.zeros((1, *self.shapes[one])) for one in inputs], self.tensors).shape[1:]
        self.nodes.append(Node(name, inputs, operation))
        self.shapes[name] = shape
        return name

    def tensor(self, *shape):
        """Make a tensor of weights that keep values near 1, heavy-tailed."""
        name = f"tensor_{len(self.tensors)}"
        self.tensors[name] = self.rng.laplace(size=shape) / math.sqrt(math.prod(shape[1:]))
        return name

    def linear(self, neurons, *, transposed=False):
        shape = (neurons, self.shape[0])
        bias = self.tensor(neurons) if self.rng.random() < 0.7 else None
        return self.add(Linear(self.tensor(*(shape[::-1] if transposed else shape)), bias, transposed))

    def conv(self, neurons, *, same=False):
        """Append a convolution; `same` keeps the lengths."""
        rng, (channels, *lengths) = self.rng, self.shape
        groups = int(rng.choice([one for one in (1, 2) if channels % one == neurons % one == 0]))
        bias = self.tensor(neurons) if rng.random() < 0.7 else None
        weight = self.tensor(neurons, channels // groups, *[3] * len(lengths))
        if same:
            return self.add(Conv(weight, bias, padding=(1,), groups=groups))
        stride = tuple(rng.integers(1, 4, len(lengths)).tolist())
        dilation = tuple(rng.integers(1, 3, len(lengths)).tolist())
        padding = tuple(rng.integers(2, 4, 2 * len(lengths)).tolist())  # so that windows always fit
        return self.add(Conv(weight, bias, stride, padding, dilation, groups))

    def activation(self):
        return self.add(self.activations[self.rng.integers(len(self.activations))])

    def pool(self):
        rng, lengths = self.rng, self.shape[1:]
        kernel = tuple(min(int(rng.integers(1, 4)), length) for length in lengths)
        padding = tuple(int(rng.integers(0, length)) for length in kernel for _ in range(2))
        stride = tuple(int(one) for one in rng.integers(1, 3, len(kernel)))
        return self.add(Pool(list(PoolKind)[rng.integers(2)], kernel, stride, padding))

    def normalisation(self):
        channels = self.shape[0]
        if self.rng.random() < 0.5 or not self.batch_norm:
            return self.add(Affine(tuple(self.rng.normal(size=channels).tolist()), (0.25,)))
        variance = self.tensor(channels)
        self.tensors[variance] = np.abs(self.tensors[variance])
        return self.add(BatchNorm(self.tensor(channels), variance, 0.01, self.tensor(channels), self.tensor(channels)))

    def branches(self, join, layer):
        """Append a layer and an activation, and join them with what they started from."""
        start = self.last
        layer()
        self.add(join, self.activation(), start)

    def vector_step(self):
        width = self.shape[0]
        choice = self.rng.integers(7)
        if choice == 0:
            self.linear(int(self.rng.integers(2, 8)))
        elif choice == 1:
            self.branches(Add(), lambda: self.linear(width))
        elif choice == 2:
            self.branches(Concat(), lambda: self.linear(3))
        elif choice == 3:
            self.normalisation()
        elif choice == 4 and width % 2 == 0:
            self.add(Reshape((2, width // 2)))
        else:
            self.activation()

    def spatial_step(self):
        channels = self.shape[0]
        choice = self.rng.integers(8)
        if choice in (0, 1):
            self.conv(int(self.rng.integers(1, 3)) * 2)
        elif choice == 2:
            self.branches(Add(), lambda: self.conv(channels, same=True))
        elif choice == 3:
            self.branches(Concat(), lambda: self.conv(2, same=True))
        elif choice == 4:
            self.normalisation()
        elif choice == 5:
            self.pool()
        elif choice == 6 and math.prod(self.shape) < 30:
            self.add(GlobalMean() if self.rng.random() < 0.5 else Reshape())
        else:
            self.activation()
