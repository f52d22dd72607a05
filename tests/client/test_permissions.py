"""What is made of weights has their permission bits at most, also while it is made."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests.client.folders.models import INDEX, shard_name, write_model
from tests.client.formats.conftest import HALF
from tests.client.formats.onnx_models import everywhere, external, model_of

from ellq_client import Client, pack, unpack, write_report
from ellq_client.cli.networks import write_network_of_onnx
from ellq_client.folders.files import PROGRESS
from ellq_client.folders.finished import REPORT
from ellq_client.networks import Input, Linear, chain
from ellq_client.shrinking import shrink_file


def bits(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ELLQ_SERVER", raising=False)
        with Client(streams=1) as client:
            yield client


def weights() -> dict[str, np.ndarray]:
    return {f"layer{number}.weight": np.random.default_rng(number).normal(size=(8, 8)).astype(np.float32) for number in (1, 2)}


def safetensors(folder: Path) -> Path:
    save_file(weights(), folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)  # the library writes it for its owner alone
    return folder / "model.safetensors"


def packed(folder: Path) -> Path:
    pack(safetensors(folder), folder / "packed.safetensors")
    return folder / "packed.safetensors"


def archive(folder: Path) -> Path:
    np.savez(folder / "model.npz", **weights())
    return folder / "model.npz"


def pickled(folder: Path) -> Path:
    torch.save({name: torch.from_numpy(array) for name, array in weights().items()}, folder / "model.pt")
    return folder / "model.pt"


@pytest.mark.parametrize("write", [safetensors, packed, archive, pickled])
@pytest.mark.parametrize(
    ("source", "allowed"), [(0o600, 0o600), (0o640, 0o640), (0o444, 0o444), (0o666, 0o644), (0o4775, 0o755)]
)
def test_a_file_comes_back_for_those_who_may_read_it(client, tmp_path, write, source, allowed):
    path = write(tmp_path)
    path.chmod(source)
    result = client.compress(path, tmp_path / f"small{path.suffix}", rule=HALF).result()
    write_report(result, tmp_path / "report.json")
    assert bits(tmp_path / f"small{path.suffix}") == bits(tmp_path / "report.json") == allowed


def test_what_is_not_finished_is_not_open_either(client, tmp_path):
    path = safetensors(tmp_path)
    path.chmod(0o600)
    with client.compress(path, tmp_path / "small.safetensors", rule=HALF) as run:
        next(run)
        assert [bits(partial) for partial in tmp_path.glob(".*.partial")] == [0o600]


def test_a_model_of_several_files_comes_back_for_those_who_may_read_all_of_them(client, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(everywhere(tmp_path), path)
    (tmp_path / "weights.bin").chmod(0o600)
    client.compress(path, tmp_path / "small.onnx", rule=HALF).result()
    assert bits(tmp_path / "small.onnx") == bits(tmp_path / "small.onnx.data") == 0o600


def test_arrays_are_written_for_whom_the_umask_says(client, tmp_path):
    write_report(client.compress(weights(), tmp_path / "small.safetensors", rule=HALF).result(), tmp_path / "report.json")
    assert bits(tmp_path / "small.safetensors") == bits(tmp_path / "report.json") == 0o644


@pytest.mark.parametrize(("there", "allowed"), [(0o600, 0o600), (0o666, 0o644)])
def test_what_is_replaced_was_not_more_private(client, tmp_path, there, allowed):
    output = tmp_path / "small.safetensors"
    output.touch()
    output.chmod(there)
    client.compress(safetensors(tmp_path), output, rule=HALF).result()
    assert load_file(output).keys() == weights().keys()
    assert bits(output) == allowed


def test_packing_and_unpacking_leave_permissions_as_they_are(tmp_path):
    path = safetensors(tmp_path)
    path.chmod(0o600)
    pack(path, tmp_path / "packed.safetensors")
    unpack(tmp_path / "packed.safetensors", tmp_path / "dense.safetensors")
    assert bits(tmp_path / "packed.safetensors") == bits(tmp_path / "dense.safetensors") == 0o600


def test_a_smaller_network_is_for_those_who_may_read_the_whole(tmp_path):
    save_file({"a.weight": np.eye(3, dtype=np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").chmod(0o600)
    network = chain(Input(3), Linear("a.weight"))
    shrink_file(tmp_path / "model.safetensors", tmp_path / "small.safetensors", network, tmp_path / "network.json")
    assert bits(tmp_path / "small.safetensors") == bits(tmp_path / "network.json") == 0o600


def test_a_network_is_for_those_who_may_read_the_model_and_its_weights(tmp_path):
    weights = external("weight", np.eye(3, dtype=np.float32), tmp_path, "weights.bin")
    model = model_of([onnx.helper.make_node("MatMul", ["x", "weight"], ["y"])], [weights], takes=("n", 3), gives=("n", 3))
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "weights.bin").chmod(0o600)
    write_network_of_onnx(tmp_path / "model.onnx", tmp_path / "network.json", force=False, quiet=True)
    assert bits(tmp_path / "network.json") == 0o600


def test_a_network_of_no_file_is_written_for_whom_the_umask_says(tmp_path):
    chain(Input(3), Linear("a.weight")).save(tmp_path / "network.json")
    assert bits(tmp_path / "network.json") == 0o644


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder of which one shard, and a folder in it, are for their owner alone."""
    root = write_model(tmp_path / "model")
    root.chmod(0o750)
    for shard in root.glob("*.safetensors"):
        shard.chmod(0o644)
    (root / shard_name(2, 3)).chmod(0o600)
    (root / "1_Pooling").chmod(0o700)
    (root / "LICENSE").chmod(0o640)
    return root


SHARDS = [0o644, 0o600, 0o644]


def test_a_folder_comes_back_for_those_who_may_read_it(client, private, tmp_path):
    out = tmp_path / "out"
    client.compress(private, out, rule=HALF).result()
    assert [bits(out / shard_name(number, 3)) for number in (1, 2, 3)] == SHARDS
    assert bits(out / REPORT) == 0o600, "it tells of all shards"
    assert bits(out / INDEX) == 0o644
    assert (bits(out), bits(out / "1_Pooling"), bits(out / "LICENSE"), bits(out / "run.sh")) == (0o750, 0o700, 0o640, 0o755)


def test_an_unfinished_folder_is_not_open_either(client, private, tmp_path):
    with client.compress(private, tmp_path / "out", rule=HALF) as run:
        finished = {next(run).name for _ in range(6)}
        work = tmp_path / "out" / PROGRESS
        assert {"layer1.weight", "layer2.weight"} <= finished
        assert bits(work) == 0o750
        assert bits(work / "plan.json") == bits(work / "journal.jsonl") == 0o600
        assert [bits(work / shard_name(number, 3)) for number in (1, 2)] == SHARDS[:2]


def test_a_folder_that_nobody_may_write_is_gone_on_with(client, tmp_path):
    model = write_model(tmp_path / "model")
    for path in model.glob("*.safetensors"):
        path.chmod(0o400)
    with client.compress(model, tmp_path / "out", rule=HALF) as run:
        assert len([next(run) for _ in range(6)]) == 6
        assert bits(tmp_path / "out" / PROGRESS / "journal.jsonl") == 0o600, "more is appended to it"
    client.compress(model, tmp_path / "out", rule=HALF).result()
    assert bits(tmp_path / "out" / shard_name(1, 3)) == 0o400


def test_a_folder_is_packed_and_unpacked_with_its_permissions(private, tmp_path):
    pack(private, tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "dense")
    for out, suffix in ((tmp_path / "packed", ".packed.safetensors"), (tmp_path / "dense", ".safetensors")):
        shards = [out / shard_name(number, 3).replace(".safetensors", suffix) for number in (1, 2, 3)]
        assert [bits(shard) for shard in shards] == SHARDS
        assert (bits(out), bits(out / INDEX), bits(out / "1_Pooling"), bits(out / "LICENSE")) == (0o750, 0o644, 0o700, 0o640)
