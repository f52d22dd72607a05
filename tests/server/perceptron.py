"""A small network for server tests: its tensors, its topology, its inputs, and what it computes, in float64."""

from itertools import pairwise

import numpy as np

from ellq.v1 import compression_pb2 as pb

SIZES = (6, 9, 7, 4)
LOW, HIGH = -0.5, 1.0


def tensors(seed: int = 0, dtype: type = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for layer, (fan_in, neurons) in enumerate(pairwise(SIZES)):
        found[f"fc{layer}.weight"] = rng.standard_t(3, (neurons, fan_in)).astype(dtype) / np.sqrt(fan_in).astype(dtype)
        found[f"fc{layer}.bias"] = rng.normal(size=neurons).astype(dtype) / 10
    return found


def topology(*, end: pb.Node | None = None) -> pb.Topology:
    nodes = [pb.Node(name="x", input=pb.InputNode(shape=[SIZES[0]]))]
    for layer in range(len(SIZES) - 1):
        linear = pb.LinearNode(weight=f"fc{layer}.weight", bias=f"fc{layer}.bias")
        nodes.append(pb.Node(name=f"fc{layer}", inputs=[nodes[-1].name], linear=linear))
        if layer < len(SIZES) - 2:
            relu = pb.ActivationNode(kind=pb.ACTIVATION_KIND_RELU)
            nodes.append(pb.Node(name=f"relu{layer}", inputs=[nodes[-1].name], activation=relu))
    if end is not None:
        nodes.append(end)
    return pb.Topology(nodes=nodes)


def network(**inputs: object) -> pb.Network:
    given = {"box": pb.Box(low=[LOW], high=[HIGH])} | inputs
    known = {name: value for name, value in given.items() if value is not None}
    return pb.Network(topology=topology(), inputs=pb.InputKnowledge(**known))


def samples(count: int = 200, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(LOW, HIGH, (count, SIZES[0]))


def forward(weights: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the outputs and what enters each layer."""
    entering = []
    for layer in range(len(SIZES) - 1):
        entering.append(x)
        x = x @ weights[f"fc{layer}.weight"].astype(np.float64).T + weights[f"fc{layer}.bias"].astype(np.float64)
        if layer < len(SIZES) - 2:
            x = np.maximum(x, 0)
    return x, entering


def moments(weights: dict[str, np.ndarray], x: np.ndarray, *, matrices: bool = True) -> list[pb.Moments]:
    """Return the moments under the samples, with room for the rounding of their sums."""
    found = []
    for layer, entering in enumerate(forward(weights, x)[1]):
        matrix = entering.T @ entering / len(x)
        matrix += np.eye(len(matrix)) * np.trace(matrix) * 1e-12
        raw = matrix.astype("<f8").tobytes() if matrices else b""
        found.append(pb.Moments(tensor=f"fc{layer}.weight", second_moments=np.diag(matrix).tolist(), matrix=raw))
    return found
