"""torchcrepe: how high is this tone? On tones of known pitch, by the network class of its own package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from tests.e2e.quality.packages import published

RATE = 16_000
WINDOW = 1024
BINS = 360
CENTS_A_BIN = 20
LOWEST_CENTS = 1997.3794084376191
"""Of the lowest bin, above 10 Hz."""

_TONES = 100
_RIGHT_CENTS = 50
"""A quarter tone: what evaluations of pitch trackers call right."""


@torch.no_grad()
def accuracy(model: Path, *, size: str) -> float:
    """Return the share of tones whose pitch is told right to a quarter tone."""
    network = _package_without_its_readers().Crepe(size)
    network.load_state_dict(torch.load(model, weights_only=True))
    windows, pitches = _tones()
    found = network.eval()(windows).argmax(dim=1).numpy() * CENTS_A_BIN + LOWEST_CENTS
    return float((np.abs(found - 1200 * np.log2(pitches / 10)) <= _RIGHT_CENTS).mean())


def _tones() -> tuple[torch.Tensor, np.ndarray]:
    """Return windows of tones with falling overtones in noise, and their pitches in Hz."""
    random = np.random.default_rng(0)
    pitches = np.geomspace(60, 1200, _TONES)
    moments = np.arange(WINDOW) / RATE
    overtones = np.arange(1, 9)[:, None, None]
    phases = random.uniform(0, 2 * np.pi, size=(8, _TONES, 1))
    waves = (np.sin(2 * np.pi * overtones * pitches[:, None] * moments + phases) / overtones**1.5).sum(axis=0)
    waves += random.normal(size=waves.shape) * 0.5
    waves = (waves - waves.mean(axis=1, keepdims=True)) / waves.std(axis=1, keepdims=True)
    return torch.from_numpy(waves.astype(np.float32)), pitches


def _package_without_its_readers() -> Any:
    """Return the module of the network; the package itself imports readers of sound files, which nothing here needs."""
    package = ModuleType("torchcrepe")
    package.PITCH_BINS = BINS  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location("torchcrepe_model", published("torchcrepe", "model.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get("torchcrepe")
    sys.modules["torchcrepe"] = package
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop("torchcrepe") if before is None else sys.modules.update(torchcrepe=before)
    return module
