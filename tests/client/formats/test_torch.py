"""PyTorch files: what is in them stays, but for optimizers; and nothing in them is ever executed."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.client.formats.conftest import HALF, check_only_zeros, sent

from ellq_client import OutputError, SourceError, verify, write_report
from ellq_client.sources import open_source


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def saved(document: object, path: Path, **options: object) -> Path:
    torch.save(document, path, **options)
    return path


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A checkpoint as training loops write it."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.LayerNorm((4, 4)), torch.nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = OrderedDict((f"module.{name}", tensor) for name, tensor in model.state_dict().items())
    document = {"epoch": 7, "state_dict": state, "optimizer": optimizer.state_dict(), "lr": [0.1, 0.2], "best": None}
    return saved(document, tmp_path / "training.pth")


def test_a_training_checkpoint_comes_back_without_its_optimizer(client, training, tmp_path):
    output = tmp_path / "out.pth"
    result = client.compress(training, output, rule=HALF).result()
    assert {tensor.name for tensor in result.tensors} == {f"{place}.{kind}" for place in "012" for kind in ("weight", "bias")}
    assert result.notes["1.weight"] == "a norm: its bias has the same shape"
    assert result.not_sent == {"optimizer": "the state of an optimizer; it is left out of the output, too"}
    check_only_zeros(training, output, result)
    old, new = (torch.load(path, weights_only=True) for path in (training, output))
    assert list(new) == ["epoch", "state_dict", "lr", "best"]
    assert [new["epoch"], new["lr"], new["best"]] == [old["epoch"], old["lr"], old["best"]]
    assert list(new["state_dict"]) == list(old["state_dict"])
    assert torch.equal(new["state_dict"]["module.1.weight"], old["state_dict"]["module.1.weight"])


def test_a_norm_of_two_axes_is_left_alone_for_its_name(client, tmp_path):
    path = saved({"fc.weight": seeded(8, 4), "norm.weight": seeded(4, 4)}, tmp_path / "m.pt")
    result = client.analyze(path, rule=HALF).result()
    assert [tensor.treatment for tensor in result.tensors] == ["compress", "pass_through"]
    assert result.notes == {"norm.weight": "a norm by its name"}
    included = client.analyze(path, rule=HALF, include=["norm*"]).result()
    assert [tensor.treatment for tensor in included.tensors] == ["compress", "compress"]


def test_tied_weights_stay_tied_and_a_table_stays_a_table(client, tmp_path):
    weight, table = seeded(8, 4), seeded(10, 4)
    document = {"a.weight": weight, "b.weight": weight, "decoder.weight": table, "tok_embed.weight": table}
    path, output = saved(document, tmp_path / "m.pth"), tmp_path / "out.pth"
    result = client.compress(path, output, rule=HALF).result()
    assert [(tensor.name, tensor.treatment) for tensor in result.tensors] == [
        ("a.weight", "compress"),
        ("tok_embed.weight", "pass_through"),
    ]
    assert result.not_sent == {
        "b.weight": "the same tensor as 'a.weight'",
        "decoder.weight": "the same tensor as 'tok_embed.weight'",
    }
    new = torch.load(output, weights_only=True)
    assert new["a.weight"].data_ptr() == new["b.weight"].data_ptr()
    assert torch.count_nonzero(new["b.weight"]) == 16
    assert torch.equal(new["decoder.weight"], table)


def test_a_file_that_is_cut_off_while_it_is_sent_is_refused(tmp_path):
    """What is mapped of it would end the process here, with SIGBUS."""
    path = saved({"w": seeded(128, 128)}, tmp_path / "m.pt")
    entry = open_source(path).contents.entries[0]
    held = entry.load()
    os.truncate(path, 1)
    assert len(bytes(held)) == 128 * 128 * 4, "what was loaded before stays"
    with pytest.raises(SourceError, match=r"m\.pt changed while it was read"):
        bytes(entry.load())


def test_views_of_one_storage_are_changed_in_their_places(client, tmp_path):
    whole = seeded(12, 4)
    document = {"q.weight": whole[:4], "k.weight": whole[4:8], "odd.weight": whole[8:].T}
    path, output = saved(document, tmp_path / "m.pth"), tmp_path / "out.pth"
    result = client.compress(path, output, rule=HALF).result()
    check_only_zeros(path, output, result)
    new = torch.load(output, weights_only=True)
    assert len({tensor.untyped_storage().data_ptr() for tensor in new.values()}) == 1
    assert new["odd.weight"].stride() == (1, 4)


def test_tensors_that_overlap_are_left_alone(client, tmp_path):
    whole = seeded(12, 4)
    document = {
        "a.weight": whole[:8],
        "b.weight": whole[4:],
        "same.weight": seeded(1, 4).expand(3, 4),
        "c.weight": seeded(4, 4),
    }
    result = client.analyze(saved(document, tmp_path / "m.pth"), rule=HALF).result()
    touched = {tensor.name for tensor in result.tensors if tensor.treatment == "compress"}
    assert touched == {"c.weight"}
    assert result.notes["a.weight"] == "it shares memory with 'b.weight' without being the same"


def test_overlapping_tensors_asked_for_by_name_are_refused_where_one_change_would_be_two(client, tmp_path):
    whole = seeded(12, 4)
    windows = torch.as_strided(seeded(64), (16, 16), (1, 1))
    document = {"a.weight": whole, "b.weight": whole[2:6], "windows": windows, "c.weight": seeded(4, 4)}
    path, output = saved(document, tmp_path / "m.pth"), tmp_path / "out.pth"
    result = client.compress(path, output, rule=HALF).result()
    check_only_zeros(path, output, result)
    assert result.notes["windows"] == "several of its elements share memory"
    output.unlink()
    for names in (["a.weight", "b.weight"], ["a.weight"], ["windows"]):
        with pytest.raises(OutputError, match=f"tensor '{names[0]}' cannot be changed where it lies"):
            client.compress(path, output, rule=HALF, include=names).result()
    assert not output.exists()
    client.compress(path, tmp_path / "out.safetensors", rule=HALF, include=["a.weight", "b.weight", "windows"]).result()
    assert torch.count_nonzero(load_file(tmp_path / "out.safetensors")["b.weight"]) == 8


@pytest.mark.parametrize(
    ("size", "stride", "alone"),
    [
        ((4, 3), (3, 1), False),
        ((4, 3), (1, 4), False),
        ((4, 3), (2, 1), True),
        ((2, 1, 3), (3, 0, 1), False),
        ((2, 2), (0, 1), True),
    ],
)
def test_elements_share_memory_unless_each_axis_steps_over_the_faster_ones(tmp_path, size, stride, alone):
    path = saved({"w": torch.as_strided(seeded(16), size, stride)}, tmp_path / "m.pth")
    layout = open_source(path).contents.layouts.get("w")
    assert (layout is not None and layout.left_alone) == alone


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before 1.6"])
def test_dtypes_and_both_generations_of_files(client, tmp_path, dtype, archive):
    document = [{"w.weight": seeded(8, 4).to(dtype)}, ({"v.weight": torch.nn.Parameter(seeded(4, 4))},)]
    path = saved(document, tmp_path / "m.bin", _use_new_zipfile_serialization=archive)
    result = client.compress(path, tmp_path / "out.bin", rule=HALF).result()
    assert {tensor.name for tensor in result.tensors} == {"0.w.weight", "1.0.v.weight"}
    check_only_zeros(path, tmp_path / "out.bin", result)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_safetensors_cannot_hold_stays(client, tmp_path):
    document = {"w": seeded(4, 4), "c": torch.ones(2, dtype=torch.complex128), "s": torch.eye(3).to_sparse()}
    document["n"] = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    path, output = saved(document, tmp_path / "m.pth"), tmp_path / "out.pth"
    result = client.compress(path, output, rule=HALF).result()
    assert set(result.not_sent) == {"c", "s", "n"}
    new = torch.load(output, weights_only=True)
    assert torch.equal(new["c"], document["c"])
    assert torch.equal(new["s"].to_dense(), torch.eye(3))


def test_the_same_bytes_twice_and_safetensors_when_asked(client, training, tmp_path):
    for name in ("one.pth", "two.pth"):
        client.compress(training, tmp_path / name, rule=HALF).result()
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "two.pth").read_bytes()
    client.compress(training, tmp_path / "out.safetensors", rule=HALF).result()
    assert {name: tensor.numpy().tobytes() for name, tensor in load_file(tmp_path / "out.safetensors").items()} == sent(
        tmp_path / "one.pth"
    )
    in_memory = client.compress(training, rule=HALF).result().weights
    np.testing.assert_array_equal(in_memory["0.weight"], load_file(tmp_path / "out.safetensors")["0.weight"])


def test_verify_reads_the_format(client, training, tmp_path):
    result = client.compress(training, tmp_path / "out.pth", rule=HALF).result()
    write_report(result, tmp_path / "report.json")
    assert verify(training, tmp_path / "out.pth", tmp_path / "report.json").changed_tensors == 2


class Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before 1.6"])
def test_pickles_are_not_executed(tmp_path, archive):
    marker = tmp_path / "executed"
    path = saved(
        {"w": seeded(2, 2), "x": Command(f"touch {marker}")}, tmp_path / "m.pth", _use_new_zipfile_serialization=archive
    )
    with pytest.raises(SourceError, match=r"posix\.system.*nothing of it was executed"):
        open_source(path)
    (tmp_path / "bare.bin").write_bytes(pickle.dumps(Command(f"touch {marker}"), protocol=2))
    with pytest.raises(SourceError, match=r"posix\.system"):
        open_source(tmp_path / "bare.bin")
    assert not marker.exists()


def test_modules_and_programs_are_refused_with_what_to_save_instead(tmp_path):
    with pytest.raises(SourceError, match=r"torch\.nn\.modules\.linear\.Linear.*save the state_dict"):
        open_source(saved(torch.nn.Linear(2, 2), tmp_path / "module.pt"))
    path = saved({"w": seeded(2, 2)}, tmp_path / "program.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("program/constants.pkl", b"")
    with pytest.raises(SourceError, match="TorchScript archive"):
        open_source(path)


def test_damaged_and_hostile_files_are_named(tmp_path):
    whole = saved({"w": seeded(64, 64)}, tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "m.pth"
    for damaged in (b"", b"no pickle", whole[:-1000], whole[:100]):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=r"m\.pth is no PyTorch file"):
            open_source(path)
    with zipfile.ZipFile(tmp_path / "whole.pth") as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    with pytest.raises(SourceError, match=r"its record .* is compressed"):
        open_source(path)


def test_documents_that_cannot_be_named_are_refused(tmp_path):
    path = tmp_path / "m.pth"
    circle: dict[str, object] = {"w": seeded(2, 2)}
    circle["again"] = circle
    optimizer = torch.optim.Adam([torch.nn.Parameter(seeded(2, 2))])
    for document, told in [
        ({"a": {"b": seeded(2, 2)}, "a.b": seeded(2, 2)}, "both be called 'a.b'"),
        (circle, "holds itself"),
        ({"": seeded(2, 2), "tensor": seeded(2, 2)}, "whose name is empty"),
        (optimizer.state_dict(), "state of an optimizer"),
        ({"epoch": 3}, "no tensors"),
        ({"__metadata__": seeded(2, 2)}, "__metadata__"),
        ({"\ud800": seeded(2, 2)}, "cannot hold"),
    ]:
        saved(document, path)
        with pytest.raises(SourceError, match=told):
            open_source(path)


def test_documents_nested_deeper_than_python_goes_are_refused(tmp_path, monkeypatch):
    path = saved({"w": seeded(2, 2)}, tmp_path / "m.pth")
    deep: object = seeded(2, 2)
    for _ in range(sys.getrecursionlimit()):
        deep = {"a": deep}
    monkeypatch.setattr("ellq_client.formats.torch_file.drop_optimizers", lambda document: [])
    monkeypatch.setattr("torch.load", lambda *_, **__: deep)
    with pytest.raises(SourceError, match=r"m\.pth nests too deeply"):
        open_source(path)


def test_without_torch_the_extra_is_named(tmp_path):
    code = "import sys; sys.modules['torch'] = None; from ellq_client.sources import open_source; open_source('m.pth')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "ExtraMissing: reading a PyTorch file needs torch: pip install 'ellq[torch]'" in ended.stderr
