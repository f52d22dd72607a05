"""A real checkpoint through the real command line and a real server."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

Ellq = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def compressed(minilm: Path, ellq: Ellq, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's output and report."""
    folder = tmp_path_factory.mktemp("compressed")
    output, report = folder / "model.safetensors", folder / "report.json"
    ended = ellq("compress", minilm, "-o", output, "--rule", "sparsity-index", "--q", 0.5, "--json", report)
    assert ended.returncode == 0, ended.stderr
    assert "promises nothing about the error" in ended.stdout
    return output, report


def test_the_output_differs_only_by_zeros_in_compressible_tensors(minilm: Path, compressed: tuple[Path, Path]) -> None:
    before, after = load_file(minilm), load_file(compressed[0])
    reports = {tensor["name"]: tensor for tensor in json.loads(compressed[1].read_text())["tensors"]}
    assert before.keys() == after.keys() == reports.keys()
    for name, weights in before.items():
        changed = weights != after[name]
        assert not after[name][changed].any()
        assert weights.dtype == after[name].dtype
        if reports[name]["treatment"] != "compress":
            assert not changed.any()
    assert sum(int((before[name] != after[name]).sum()) for name in before) > 1_000_000


def test_compressing_twice_gives_identical_bytes(
    minilm: Path, compressed: tuple[Path, Path], ellq: Ellq, tmp_path: Path
) -> None:
    again = tmp_path / "again.safetensors"
    assert ellq("compress", minilm, "-o", again, "--rule", "sparsity-index", "--q", 0.5, "--quiet").returncode == 0
    assert again.read_bytes() == compressed[0].read_bytes()


def test_verify_passes(minilm: Path, compressed: tuple[Path, Path], ellq: Ellq) -> None:
    ended = ellq("verify", minilm, compressed[0], "--report", compressed[1])
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("change", ["restored", "zeroed", "nudged"])
def test_verify_fails_when_one_weight_is_changed(
    minilm: Path, compressed: tuple[Path, Path], ellq: Ellq, tmp_path: Path, change: str
) -> None:
    """A cut weight put back, a kept one cut, or a kept one moved by one bit."""
    forged = shutil.copy(compressed[0], tmp_path / "forged.safetensors")
    raw = np.memmap(forged, np.uint8, "r+")
    begin = 8 + int.from_bytes(bytes(raw[:8]), "little")
    span = json.loads(bytes(raw[8:begin]))["encoder.layer.2.output.dense.weight"]["data_offsets"]
    weights = raw[begin + span[0] : begin + span[1]].view(np.uint32)
    original = np.fromfile(minilm, np.uint8)[begin + span[0] : begin + span[1]].view(np.uint32)
    cut = int(np.flatnonzero((weights == 0) & (original != 0))[77])
    kept = int(np.flatnonzero(weights)[77])
    match change:
        case "restored":
            weights[cut] = original[cut]
        case "zeroed":
            weights[kept] = 0
        case "nudged":
            weights[kept] ^= 1
    raw.flush()
    ended = ellq("verify", minilm, forged, "--report", compressed[1])
    assert ended.returncode == 1
    assert "encoder.layer.2.output.dense.weight" in ended.stdout + ended.stderr
