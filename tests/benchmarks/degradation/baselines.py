"""The textbook bound that the certificates are compared with: products of operator norms, layer by layer."""

import numpy as np
import torch
from torch import nn

from tests.benchmarks.degradation.measuring import Array
from tests.benchmarks.degradation.subjects import Subject

POWER_STEPS = 60


def operator_norms(subject: Subject, compressed: nn.Sequential) -> float:
    """Return E of the output with E_k = ||W'_k||_2 E_(k-1) + ||W_k - W'_k||_2 A_(k-1), E_0 = 0.

    A_k is the root mean square norm of what enters layer k of the original network, measured: so the recursion makes the
    promise that mean square certificates make, and has the better of most textbook versions, which bound A_k, too. ReLU
    and pools of disjoint windows have Lipschitz constant 1 in the l_2 norm. No certificate: norms are not rounded up.
    """
    error = 0.0
    for seen in subject.traces:
        name = seen.tensor.removesuffix(".weight")
        layer = subject.module.get_submodule(name)
        changed = compressed.get_submodule(name).weight.detach()
        entering = float(seen.inputs.flatten(1).norm(dim=1).square().mean().sqrt())
        shape = tuple(seen.inputs.shape[1:])
        error = _norm(layer, changed, shape) * error + _norm(layer, changed - layer.weight.detach(), shape) * entering
    return error


@torch.no_grad()
def _norm(layer: nn.Module, weight: torch.Tensor, shape: tuple[int, ...]) -> float:
    """Return the spectral norm; of a convolution from below, by power iteration, which favours the baseline."""
    if not isinstance(layer, nn.Conv2d):
        return float(np.linalg.norm(_array(weight), 2))
    vector = torch.ones(1, *shape, dtype=torch.float64)
    found = 0.0
    for _ in range(POWER_STEPS):
        vector = vector / (vector.norm() or 1.0)
        image = nn.functional.conv2d(vector, weight, stride=layer.stride)
        found = float(image.norm())
        vector = torch.nn.grad.conv2d_input(vector.shape, weight, image, stride=layer.stride)
    return found


def _array(weight: torch.Tensor) -> Array:
    return weight.numpy()
