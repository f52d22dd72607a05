"""Where weights may go: the format they came in, or safetensors; and nothing else is touched."""

import os
from pathlib import Path

import numpy as np
import pytest
from tests.client.formats.conftest import HALF

from ellq_client import OutputError, SourceError
from ellq_client.outputs import open_sink
from ellq_client.sources import open_source


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    np.savez(tmp_path / "m.npz", w=np.random.default_rng(0).normal(size=(8, 8)))
    return tmp_path / "m.npz"


@pytest.mark.parametrize("name", ["out.pth", "out.onnx", "out", "out.bin"])
def test_one_format_does_not_become_another(archive, tmp_path, name):
    with pytest.raises(OutputError, match=r"m\.npz comes back as \.npz, \.safetensors, not as"):
        open_sink(open_source(archive), tmp_path / name, "dense", replace=True)


def test_safetensors_and_arrays_do_not_become_another(tmp_path):
    source = open_source({"w": np.ones((2, 2))})
    for name in ("out.pth", "out.npz", "out.GGUF"):
        with pytest.raises(OutputError, match=r"come back as \.safetensors"):
            open_sink(source, tmp_path / name, "dense", replace=True)


def test_the_source_is_never_replaced(archive, tmp_path):
    (tmp_path / "link.npz").symlink_to(archive)
    for name in ("m.npz", "link.npz"):
        with pytest.raises(OutputError, match="is the source itself"):
            open_sink(open_source(archive), tmp_path / name, "dense", replace=True)


def test_an_older_output_is_replaced_in_one_instant(client, archive, tmp_path):
    output = tmp_path / "out.npz"
    output.write_text("older")
    run = client.compress(archive, output, rule=HALF)
    next(run)
    assert output.read_text() == "older"
    run.result()
    assert np.count_nonzero(np.load(output)["w"]) == 32
    assert sorted(os.listdir(tmp_path)) == ["m.npz", "out.npz"]


def test_a_source_that_changes_leaves_nothing_behind(client, archive, tmp_path):
    run = client.compress(archive, tmp_path / "out.npz", rule=HALF)
    next(run)
    with archive.open("ab") as file:
        file.write(b"more")
    with pytest.raises(SourceError, match=r"m\.npz changed"):
        run.result()
    assert os.listdir(tmp_path) == ["m.npz"]


@pytest.mark.parametrize("suffix", ["pth", "onnx", "gguf", "npz"])
def test_what_cannot_be_read_is_named(tmp_path, suffix):
    with pytest.raises(SourceError, match=f"cannot read .*m.{suffix}: No such file"):
        open_source(tmp_path / f"m.{suffix}")
    (tmp_path / f"m.{suffix}").mkdir()
    with pytest.raises(SourceError, match="is a directory"):
        open_source(tmp_path / f"m.{suffix}")
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    with pytest.raises(SourceError, match="no ordinary file"):
        open_source(tmp_path / f"pipe.{suffix}")
