"""Runs a torch module over samples and measures what enters each of its layers.

The module runs as a copy in float64 and eval mode. Certificates speak of exact arithmetic: what float64 loses in the forward
pass is not accounted for; what the sums of the measurement lose is (see sample_sums.py).
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np

from ellq_client.errors import ExtraMissing, UnderivableNetwork
from ellq_client.networks.moments import Array, Calibration
from ellq_client.networks.network import Network
from ellq_client.networks.operations import Conv, Linear
from ellq_client.networks.sample_sums import SampleSums, moments_of_uses
from ellq_client.networks.torch_paddings import paddings_of

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as missing:
    raise ExtraMissing("calibrating a module needs torch: pip install 'ellq[torch]'") from missing

Layer = nn.Linear | nn.Conv1d | nn.Conv2d

PIECE_VALUES = 1 << 23
"""Most float64 values of unfolded windows that are held at once (64 MiB), but at least those of one sample."""


def calibrate(
    module: nn.Module,
    loader: Iterable[Any],
    *,
    matrices: bool = True,
    network: Network | None = None,
    largest_matrix: int = 4096,
) -> Calibration:
    """Return the second moments of what enters every Linear, Conv1d and Conv2d, over all samples of the loader.

    A batch is a tensor (samples, ...), or a tuple or list that begins with one. `matrices` asks for the full matrices, too,
    except for fan-ins above `largest_matrix`: `without_matrix` of the result names those. `network` limits the measurement to
    the tensors of its layers. A module that is used twice gets moments that hold for both uses: the sum of its matrices, or
    the larger ones of second moments alone. Margins are measured when the outputs are vectors of two values or more.

    Errors: UnderivableNetwork when there are no samples, or a layer sees NaN or infinity.
    """
    layers = copy.deepcopy(module).double().eval()
    wanted = None if network is None else _weights_of(network)
    watches: dict[str, _Watch] = {}
    stored = layers.state_dict().keys()  # a weight that is computed from others is no tensor of the file
    for name, layer in cast("Iterator[tuple[str, nn.Module]]", layers.named_modules()):
        tensor = f"{name}.weight".removeprefix(".")
        if isinstance(layer, Layer) and tensor in stored and (wanted is None or tensor in wanted):
            watches[tensor] = _Watch(tensor, layer, largest_matrix=largest_matrix if matrices else 0)
    samples, margins = 0, list[Array]()
    with torch.no_grad():
        for batch in loader:
            inputs = _inputs_of(batch, layers)
            for watch in watches.values():
                watch.next_batch()
            outputs = layers(inputs)
            samples += len(inputs)
            if isinstance(outputs, torch.Tensor) and outputs.ndim == 2 and outputs.shape[1] > 1:
                best = outputs.topk(2, dim=1).values
                margins.append((best[:, 0] - best[:, 1]).cpu().numpy())
    if not samples:
        raise UnderivableNetwork("the loader has no samples to measure")
    tensors = {tensor: moments_of_uses(watch.sums()) for tensor, watch in watches.items() if watch.uses}
    # A difference of two numbers has met one rounding: the next number below is not above the true margin.
    lowest = np.maximum(np.nextafter(np.concatenate(margins), -np.inf), 0.0) if margins else np.zeros(0)
    return Calibration(tensors, samples, lowest)


def _weights_of(network: Network) -> set[str]:
    return {node.operation.weight for node in network.nodes if isinstance(node.operation, Linear | Conv)}


def _inputs_of(batch: Any, module: nn.Module) -> torch.Tensor:
    """Return the inputs of a batch in float64, where the module lies."""
    first = cast("Any", batch[0] if isinstance(batch, tuple | list) else batch)
    place = next((parameter.device for parameter in module.parameters()), None)
    inputs = torch.as_tensor(first, device=place)
    return inputs.double() if inputs.is_floating_point() else inputs  # token numbers stay what they are


class _Watch:
    """Sums up what one layer sees. Its n-th use in a forward pass is apart from its other uses."""

    def __init__(self, tensor: str, layer: Layer, *, largest_matrix: int) -> None:
        self.tensor = tensor
        self.layer = layer
        self.keep_matrix = layer.weight[0].numel() <= largest_matrix
        self.uses: list[_Use] = []
        self._use = 0
        layer.register_forward_pre_hook(self._see, with_kwargs=True)

    def next_batch(self) -> None:
        """Begin a forward pass."""
        self._use = 0

    def sums(self) -> list[SampleSums]:
        """Return the sums of every use. Errors: UnderivableNetwork for NaN, infinity or nothing."""
        found = [use.sums() for use in self.uses]
        if not all(np.isfinite(one.squares).all() for one in found):
            raise UnderivableNetwork(f"what enters {self.tensor!r} holds NaN or infinity, or its square overflows")
        return found

    def _see(self, _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self._use == len(self.uses):
            self.uses.append(_Use(keep_matrix=self.keep_matrix))
        inputs: torch.Tensor = arguments[0] if arguments else named["input"]
        for piece in torch.split(inputs, self._samples_a_piece(inputs)):
            self.uses[self._use].add(_columns(self.layer, piece))
        self._use += 1

    def _samples_a_piece(self, inputs: torch.Tensor) -> int:
        windows = 1 if isinstance(self.layer, nn.Linear) else self.layer.weight[0, 0].numel()
        return max(1, PIECE_VALUES // max(1, inputs[0].numel() * windows))


class _Use:
    """Running sums."""

    def __init__(self, *, keep_matrix: bool) -> None:
        self._keep_matrix = keep_matrix
        self._totals: torch.Tensor | None = None
        self._nonzero: torch.Tensor | None = None
        self._terms = self._longest = self._pieces = 0

    def add(self, columns: torch.Tensor) -> None:
        """Take columns (groups, fan_in, windows)."""
        found = torch.bmm(columns, columns.mT) if self._keep_matrix else columns.square().sum(-1)
        nonzero = (columns != 0).any(-1)
        self._totals = found if self._totals is None else self._totals + found
        self._nonzero = nonzero if self._nonzero is None else self._nonzero | nonzero
        self._terms += columns.shape[-1]
        self._longest = max(self._longest, columns.shape[-1])
        self._pieces += 1

    def sums(self) -> SampleSums:
        """Return what was summed up: a product meets its own rounding, those of its piece and one a piece."""
        assert self._totals is not None, "a use begins with columns"
        assert self._nonzero is not None, "a use begins with columns"
        totals = self._totals.cpu().numpy()
        squares = np.diagonal(totals, axis1=1, axis2=2).copy() if self._keep_matrix else totals
        products = totals if self._keep_matrix else None
        return SampleSums(squares, products, self._nonzero.cpu().numpy(), self._terms, self._longest + self._pieces)


def _columns(layer: Layer, inputs: torch.Tensor) -> torch.Tensor:
    """Return what each neuron sees: (groups, fan_in, windows), windows being samples times positions."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(-1, layer.in_features).T[None]
    # functional.pad begins with the last axis.
    pads = [side for axis in reversed(range(len(layer.kernel_size))) for side in paddings_of(layer)[2 * axis : 2 * axis + 2]]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(inputs, pads, mode=mode)
    flat = (1,) * (2 - len(layer.kernel_size))  # one-dimensional convolutions have a height of one
    if flat:
        padded = padded[:, :, None]
    windows = functional.unfold(
        padded, kernel_size=flat + layer.kernel_size, stride=flat + layer.stride, dilation=flat + layer.dilation
    )
    samples, _, positions = windows.shape
    groups = windows.reshape(samples, layer.groups, -1, positions).permute(1, 2, 0, 3)
    return groups.reshape(layer.groups, -1, samples * positions)
