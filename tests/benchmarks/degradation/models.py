"""Small networks, trained once with a seed each and kept as safetensors files."""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.benchmarks.degradation.data import FOLDER, Data

BATCH = 128
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained."""

    name: str
    data: str
    """Name of a loader of data.LOADERS."""
    widths: tuple[int, ...]
    """Values between layers, those of the input first and those of the output last. Images: channels, then the output."""
    epochs: int
    seeds: int = 3
    """Networks that the full study trains."""
    convolutional: bool = False

    @property
    def depth(self) -> int:
        """Layers with weights."""
        return len(self.widths) - 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return (1, 28, 28) if self.convolutional else self.widths[:1]

    @property
    def sees_images(self) -> bool:
        """Whether the inputs are images of 28 x 28 pixels."""
        return self.convolutional or self.widths[0] == 784

    @property
    def kind(self) -> str:
        """What the docs group it under."""
        return "CNN" if self.convolutional else f"MLP, {self.depth} layers"

    def build(self) -> nn.Sequential:
        """Return the network with fresh weights."""
        return _cnn(*self.widths) if self.convolutional else _mlp(self.widths)


RECIPES = (
    Recipe("digits-2", "digits", (64, 100, 10), epochs=100),
    Recipe("digits-3", "digits", (64, 128, 64, 10), epochs=100),
    Recipe("digits-4", "digits", (64, 128, 64, 32, 10), epochs=100),
    Recipe("mnist-3", "mnist", (784, 128, 64, 10), epochs=12),
    Recipe("fashion-2", "fashion", (784, 128, 10), epochs=5),
    Recipe("fashion-3", "fashion", (784, 128, 64, 10), epochs=5),
    Recipe("fashion-cnn", "fashion", (1, 8, 16, 10), epochs=10, convolutional=True),
    Recipe("diamonds-3", "diamonds", (9, 64, 64, 1), epochs=15, seeds=5),
    Recipe("diamonds-4", "diamonds", (9, 128, 64, 32, 1), epochs=15, seeds=5),
    Recipe("diabetes-2", "diabetes", (10, 64, 1), epochs=40, seeds=5),
)


def trained(recipe: Recipe, data: Data, seed: int) -> nn.Sequential:
    """Return the trained network, float32, from the cache if it was trained before."""
    network = recipe.build()
    digest = sha256(repr((recipe, BATCH, LEARNING_RATE)).encode()).hexdigest()[:12]
    path = FOLDER / "weights" / f"{recipe.name}-{seed}-{digest}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(train(recipe, data, seed).state_dict(), path)
    network.load_state_dict(load_file(path))
    return network.eval()


def train(recipe: Recipe, data: Data, seed: int) -> nn.Sequential:
    """Return the network after its epochs of Adam with the learning rate falling to zero along a cosine."""
    torch.manual_seed(seed)
    network = recipe.build()
    inputs = torch.from_numpy(data.train_inputs.reshape(-1, *recipe.input_shape))
    targets = torch.from_numpy(np.ascontiguousarray(data.train_targets))
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            optimiser.zero_grad()
            loss(network(inputs[batch]), targets[batch]).backward()
            optimiser.step()
        schedule.step()
    return network.eval()


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy for classes, the mean squared error for numbers."""
    if targets.dtype == torch.int64:
        return nn.functional.cross_entropy(outputs, targets)
    return nn.functional.mse_loss(outputs[:, 0], targets.to(outputs.dtype))


def _mlp(widths: tuple[int, ...]) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (fan_in, neurons) in enumerate(pairwise(widths), start=1):
        layers[f"fc{number}"] = nn.Linear(fan_in, neurons)
        if number < len(widths) - 1:
            layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers)


def _cnn(pixels: int, first: int, second: int, classes: int) -> nn.Sequential:
    """28 x 28 -> 26 x 26, pooled to 13 x 13 -> 6 x 6 -> classes."""
    layers = [
        ("conv1", nn.Conv2d(pixels, first, 3)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(first, second, 3, stride=2)),
        ("relu2", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(second * 6 * 6, classes)),
    ]
    return nn.Sequential(OrderedDict(layers))
