"""silero-vad: is somebody speaking? On a voice made of pulses and resonances, so that every moment's answer is known."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.signal import lfilter

RATE = 16_000
FRAME = 512
_WORDS = 60
_VOWELS = (
    ((730, 90), (1090, 110), (2440, 170)),
    ((270, 60), (2290, 120), (3010, 200)),
    ((300, 60), (870, 100), (2240, 170)),
    ((530, 70), (1840, 100), (2480, 170)),
    ((570, 80), (840, 100), (2410, 170)),
)
"""Resonances of vowels and their widths, in Hz: Peterson and Barney 1952, as textbooks round them."""


def accuracy_of_onnx(model: Path) -> float:
    """Return the share of frames of 32 ms that the package's own reader puts on the right side of one half."""
    sound, truth = _speech()
    return float(((_package().SileroVADSequence(str(model)).audio_forward(sound) > 0.5) == truth).mean())


def accuracy_of_safetensors(model: Path) -> float:
    """Return the same of the network of the package's tinygrad_model.py, in torch."""
    sound, truth = _speech()
    return float(((_probabilities(load_file(model), sound) > 0.5) == truth).mean())


def _speech() -> tuple[np.ndarray, np.ndarray]:
    """Return words between silences, and for each frame whether most of it lies in a word."""
    random = np.random.default_rng(0)
    parts: list[np.ndarray] = []
    spoken: list[np.ndarray] = []
    for _ in range(_WORDS):
        word = np.concatenate([_syllable(random) for _ in range(random.integers(2, 5))])
        silence = np.zeros(int(random.uniform(0.4, 1.2) * RATE))
        parts += [word, silence]
        spoken += [np.ones(len(word)), silence]
    sound = np.concatenate(parts)
    sound = 0.6 * sound / np.abs(sound).max() + random.normal(size=len(sound)) * 0.002
    frames = len(sound) // FRAME
    truth = np.concatenate(spoken)[: frames * FRAME].reshape(frames, FRAME).mean(axis=1) > 0.5
    return sound[: frames * FRAME].astype(np.float32), truth


def _syllable(random: np.random.Generator) -> np.ndarray:
    """Return a breath and a vowel."""
    seconds, pitch, vowel = random.uniform(0.1, 0.25), random.uniform(90, 220), _VOWELS[random.integers(len(_VOWELS))]
    moments = np.arange(int(seconds * RATE)) / RATE
    turns = np.cumsum(pitch * (1 + 0.08 * np.sin(6 * np.pi * moments))) / RATE
    voice = lfilter([1], [1, -np.exp(-1 / 8)], np.diff(np.floor(turns), prepend=0))
    for centre, width in vowel:
        radius = np.exp(-np.pi * width / RATE)
        first, second = 2 * radius * np.cos(2 * np.pi * centre / RATE), -(radius**2)
        voice = lfilter([1 - first - second], [1, -first, -second], voice)
    swell = np.minimum(1, np.minimum(moments, seconds - moments) / 0.03)
    return np.concatenate([random.normal(size=RATE // 16) * 0.01, voice * swell])


@torch.no_grad()
def _probabilities(weights: dict[str, torch.Tensor], sound: np.ndarray) -> np.ndarray:
    """Return the probability of speech for each frame."""
    blocks = list(_package().frame_blocks(sound, FRAME, 64, 1 << 20))
    x = torch.nn.functional.pad(torch.from_numpy(blocks[0]), (0, 64), mode="reflect")[:, None]
    parts = torch.nn.functional.conv1d(x, weights["stft_conv.weight"], stride=128)
    x = (parts[:, :129] ** 2 + parts[:, 129:] ** 2).sqrt()
    for number, stride in ((1, 1), (2, 2), (3, 2), (4, 1)):
        weight, bias = weights[f"conv{number}.weight"], weights[f"conv{number}.bias"]
        x = torch.nn.functional.conv1d(x, weight, bias, stride=stride, padding=1).relu()
    cell = torch.nn.LSTMCell(128, 128)
    cell.load_state_dict({name: weights[f"lstm_cell.{name}"] for name in cell.state_dict()})
    state = torch.zeros(1, 128), torch.zeros(1, 128)
    hidden: list[torch.Tensor] = []
    for frame in x.squeeze(-1):
        state = cell(frame[None], state)
        hidden.append(state[0])
    x = torch.cat(hidden).relu()[:, :, None]
    x = torch.nn.functional.conv1d(x, weights["final_conv.weight"], weights["final_conv.bias"])
    return x.sigmoid().flatten().numpy()


def _package() -> ModuleType:
    """Return the package's reader; to import it leaves torch a single thread, which is undone."""
    threads = torch.get_num_threads()
    try:
        return import_module("silero_vad.sequence_vad")
    finally:
        torch.set_num_threads(threads)
