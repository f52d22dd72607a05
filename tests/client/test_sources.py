"""Whatever weights come in, the stream is the safetensors file that the library would write."""

import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors import numpy as safetensors_numpy
from safetensors import torch as safetensors_torch

from ellq_client import Client, Fraction, OutputError, SourceError, verify
from ellq_client.checkpoint import Checkpoint
from ellq_client.headers import parse_header
from ellq_client.sources import FRAME_BYTES, open_source

RULE = Fraction(pruned_ratio=0.5)


def stream(weights) -> bytes:
    source = open_source(weights)
    frames = list(source.frames())
    assert all(0 < len(frame) <= FRAME_BYTES for frame in frames)
    data = b"".join(frames)
    assert len(data) == source.size_bytes
    return data


def test_the_stream_is_byte_for_byte_that_of_the_library():
    weights = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.ones((2, 2), np.float64),
        "é": np.array([True, False]),
        "c": np.arange(3, dtype=np.int16),
        "d": np.array(3, np.float32),
        "e": np.zeros((0, 4), np.float16),
    }
    assert stream(weights) == safetensors_numpy.save(weights)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(24.0)[::2],
        np.arange(6.0)[::-1],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6, dtype=">f4"),
        np.arange(6, dtype=">i8"),
        np.broadcast_to(np.float32(2), (3, 4)),
    ],
    ids=["transposed", "strided", "reversed", "fortran", "big-endian floats", "big-endian integers", "broadcast"],
)
def test_memory_layout_does_not_matter(array):
    np.testing.assert_array_equal(safetensors_numpy.load(stream({"w": array}))["w"], array)


def test_torch_tensors_of_every_kind():
    weights = {
        "bf16": torch.randn(3, 4).to(torch.bfloat16),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "scalar": torch.tensor(3.0),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "bool": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
        "f8": torch.ones(4).to(torch.float8_e4m3fn),
    }
    loaded = safetensors_torch.load(stream(weights))
    for name, tensor in weights.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        assert torch.equal(loaded[name].float(), tensor.detach().float())


def test_big_arrays_leave_in_full_frames_and_small_ones_share_them():
    many = {f"{number:06d}": np.zeros(1, np.float32) for number in range(30_000)}
    big = {"w": np.arange(FRAME_BYTES // 2, dtype=np.float32)}
    for weights in (many, big, {**many, **big}):
        frames = list(open_source(weights).frames())
        assert [len(frame) for frame in frames[:-1]] == [FRAME_BYTES] * (len(frames) - 1)
        assert safetensors_numpy.load(b"".join(frames)).keys() == weights.keys()


def test_results_are_of_the_kind_that_was_sent(fake):
    weights = {
        "torch": torch.randn(3, 4).to(torch.bfloat16),
        "ml": np.ones((2, 3), ml_dtypes.bfloat16),
        "numpy": np.ones((2, 3), ">f4"),
        "none": torch.zeros(0, 3),
    }
    with Client(fake.address) as client:
        back = client.compress(weights, rule=RULE).result().weights
    assert torch.equal(back["torch"], weights["torch"])
    assert back["ml"].dtype == ml_dtypes.bfloat16
    assert back["ml"].tolist() == weights["ml"].tolist()
    np.testing.assert_array_equal(back["numpy"], weights["numpy"])
    assert back["none"].shape == (0, 3)


def test_torch_is_never_imported_on_a_callers_behalf():
    code = (
        "import sys, numpy as np\n"
        "from ellq_client.sources import open_source\n"
        "list(open_source({'w': np.ones((2, 2))}).frames())\n"
        "assert not {'torch', 'pydantic', 'prometheus_client', 'ellq_server', 'ellq_kernels'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"w": [1.0, 2.0]}, "tensor 'w': a list of dtype None"),
        ({"w": np.array(["text"])}, "tensor 'w': a ndarray of dtype str"),
        ({"w": np.ones(2, np.complex128)}, "complex128"),
        ({7: np.ones(2)}, "tensor names are text, got 7"),
    ],
)
def test_what_is_no_array_is_named(weights, message):
    with pytest.raises(SourceError, match=message):
        open_source(weights)


@pytest.mark.parametrize("weights", [torch.nn.Linear(2, 2), [np.ones((2, 2))], None])
def test_neither_a_path_nor_a_mapping(fake, tmp_path, weights):
    message = f"a path or a mapping of names to arrays, not {type(weights).__name__}"
    with Client(fake.address) as client:
        with pytest.raises(TypeError, match=message):
            client.analyze(weights).result()
        with pytest.raises(TypeError, match=message):
            client.compress(weights, tmp_path / "small.safetensors", rule=RULE).result()
        with pytest.raises(TypeError, match=message):
            client.compress(weights, "s3://models/small.safetensors", rule=RULE).result()
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(SourceError, match="is a directory; name one"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match="No such file"):
        open_source(tmp_path / "none.safetensors")


TORN = [
    (lambda whole: whole[:-20], r"model\.safetensors is cut off: \d+ of \d+ bytes$"),
    (lambda whole: whole[:40], r"cut off in its header: its header would be \d+ bytes long, the file has 40$"),
    (lambda whole: b"a text, not weights", "is no safetensors file"),
    (lambda whole: b"short", "ends after 5 bytes"),
    (lambda whole: b"", "it is empty"),
    (lambda whole: whole + b"more", "4 bytes after its last tensor"),
]


@pytest.mark.parametrize(("damage", "message"), TORN)
def test_torn_files_are_told_alike_by_every_call_before_anything_is_sent(fake, checkpoint, tmp_path, damage, message):
    whole = tmp_path / "whole.safetensors"
    whole.write_bytes(checkpoint.read_bytes())
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with Client(fake.address) as client:
        for call in (
            lambda: client.analyze(checkpoint).result(),
            lambda: client.compress(checkpoint, tmp_path / "out.safetensors", rule=RULE).result(),
            lambda: verify(checkpoint, whole),
            lambda: verify(whole, checkpoint),
        ):
            with pytest.raises(SourceError, match=message) as caught:
                call()
            assert str(checkpoint) in str(caught.value)
    assert fake.requests == []


def test_a_pipe_is_no_source_and_no_place(fake, checkpoint, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SourceError, match="no ordinary file"):
        open_source(pipe)
    with Client(fake.address) as client, pytest.raises(OutputError, match="no ordinary file"):
        client.compress(checkpoint, pipe, rule=RULE).result()


def test_a_file_that_changes_while_it_is_read_is_noticed(checkpoint):
    source = open_source(checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes() + b"more")
    with pytest.raises(SourceError, match="changed while it was read"):
        list(source.frames())


@pytest.mark.parametrize("read", [str, safetensors_numpy.load_file])
def test_a_header_is_parsed_once(fake, checkpoint, monkeypatch, read):
    parsed = []
    monkeypatch.setattr(
        "ellq_client.headers.parse_header", lambda text, **words: parsed.append(text) or parse_header(text, **words)
    )
    with Client(fake.address) as client:
        client.compress(read(checkpoint), rule=RULE).result()
    assert len(parsed) == 1


@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
def test_the_source_is_never_overwritten(fake, checkpoint, tmp_path, make):
    other = tmp_path / "other.safetensors"
    getattr(other, make)(checkpoint)
    before = checkpoint.read_bytes()
    with Client(fake.address) as client, pytest.raises(OutputError, match="is the source itself"):
        client.compress(checkpoint, other, rule=RULE).result()
    assert checkpoint.read_bytes() == before
    assert fake.requests == []


@pytest.mark.parametrize(
    ("place", "message"), [(".", "is a directory; name a file in it"), ("no/such/place", "No such file or directory")]
)
def test_places_that_cannot_be_written_are_named(fake, checkpoint, tmp_path, place, message):
    with Client(fake.address) as client, pytest.raises(OutputError, match=message):
        client.compress(checkpoint, tmp_path / place, rule=RULE).result()


def test_a_dtype_that_numpy_lacks_is_told_before_the_weights_come(fake, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    safetensors_torch.save_file({"w": torch.ones(2, 2).to(torch.bfloat16)}, path)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with Client(fake.address) as client:
        with pytest.raises(OutputError, match="ml_dtypes for BF16"):
            client.compress(path, rule=RULE).result()
        client.compress(path, tmp_path / "out.safetensors", rule=RULE).result()  # a file needs no dtype


@pytest.mark.parametrize("length", [640, 896, 1152, 123])
def test_low_bytes_of_honest_lengths_make_no_pickle(tmp_path, length):
    """640, 896 and 1152 begin like pickles, 123 like JSON."""
    path = tmp_path / "x.safetensors"
    for entry in (b'{"w":{"dtype":"F32"}}', b"{"):
        path.write_bytes(length.to_bytes(8, "little") + entry.ljust(length))
        with pytest.raises(SourceError, match="its header does not hold together"):
            open_source(path)
    whole = path.read_bytes()
    for kept in (8, 9, length - 9):
        path.write_bytes(whole[:kept])
        with pytest.raises(SourceError, match="or cut off in its header"):
            open_source(path)
        with pytest.raises(SourceError, match="or cut off in its header"):
            Checkpoint(path)
    path.write_bytes(whole[:8] + b"}" + whole[9:])
    with pytest.raises(SourceError, match=r"it is a pickle|it is JSON text"):
        open_source(path)
