"""What goes up: the source, whole and unchanged, or a stream that no server takes for whole."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import FRAME_BYTES
from ellq_client import SourceError
from ellq_client.actions import Upload
from ellq_client.sources import open_source

FIRST = pb.AnalyzeRequest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of more than two frames."""
    save_file({"w": np.ones((5, FRAME_BYTES // 8), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_everything_goes_up_after_the_options(path):
    upload = Upload(FIRST, open_source(path))
    first, *frames = upload
    assert first is FIRST
    assert b"".join(frames) == path.read_bytes()
    assert upload.failure is None


def test_arrays_of_no_weights_go_up_too():
    _, *frames = Upload(FIRST, open_source({"w": np.zeros((0, 4), np.float32)}))
    assert len(b"".join(frames)) > 8


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_a_file_that_is_written_to_meanwhile_does_not_go_up_whole(path, taken):
    upload = Upload(FIRST, open_source(path))
    frames = iter(upload)
    sent = [next(frames) for _ in range(taken)][1:]
    with path.open("rb+") as file:  # as many bytes as before, others than the header told of
        file.seek(-4, os.SEEK_END)
        file.write(b"gone")
    os.utime(path, ns=(0, 0))
    sent += frames
    assert len(b"".join(sent)) < path.stat().st_size, "a server sees that it is cut off"
    with pytest.raises(SourceError, match="changed while it was read"):
        raise upload.failure
