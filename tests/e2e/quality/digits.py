"""Digits of 8 by 8 pixels (scikit-learn): a small convolutional network, trained here in seconds and saved as a .pth."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

_HELD_OUT = 597
_EPOCHS = 15


def network() -> torch.nn.Sequential:
    """Return two convolutions and two layers, not trained."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(512, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10),
    )  # fmt: skip


def trained(path: Path) -> Path:
    """Train, and save the state beside an epoch and the optimizer, as training loops do."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        images, classes = _samples()
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(images) - _HELD_OUT).split(64):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(images[batch]), classes[batch]).backward()
                optimizer.step()
    torch.save({"epoch": _EPOCHS, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    return path


@torch.no_grad()
def accuracy(path: Path) -> float:
    """Return the share of images held out whose digit is told right."""
    model = network()
    model.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    images, classes = _samples()
    return float((model.eval()(images[-_HELD_OUT:]).argmax(dim=1) == classes[-_HELD_OUT:]).float().mean())


def _samples() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images in [0, 1] and their digits, in an order of chance."""
    table = load_digits()
    order = np.random.default_rng(0).permutation(len(table.target))
    images = torch.from_numpy((table.images[order, None] / 16).astype(np.float32))
    return images, torch.from_numpy(table.target[order])
