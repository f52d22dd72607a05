"""Packed outputs of a real server: the same weights, certificates and refusals as dense ones, in fewer bytes."""

import json
import sys
import tracemalloc
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.client.folders.models import write_model

from ellq_client import (
    ClaimRefuted,
    Fraction,
    InvalidRequest,
    NOfM,
    OutputError,
    SourceError,
    Tail,
    load_packed,
    pack,
    unpack,
    verify,
    write_report,
)
from ellq_client.folders.folder import open_folder
from ellq_client.folders.shard_files import PackedShardFile
from ellq_client.packing.reading import PackedCheckpoint

HALF = Fraction(pruned_ratio=0.5)


@pytest.fixture
def model(tmp_path):
    random = np.random.default_rng(2)
    weights = {
        "one.weight": random.normal(size=(70, 400)).astype(np.float32),
        "two.weight": random.normal(size=(30, 70)).astype(np.float16),
        "two.bias": np.zeros(30, np.float32),
        "steps": np.arange(5),
    }
    path = tmp_path / "model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    return path


@pytest.fixture
def ellq(monkeypatch, command_line):
    """Return what runs a command line, with the service in this process where one is needed."""
    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    return command_line


@pytest.mark.parametrize("rule", [HALF, Tail(epsilon=0.2, p=2), NOfM(n=2, m=4), Fraction(pruned_ratio=0.5, scope="global")])
def test_a_packed_file_unpacks_to_the_dense_one(client, model, tmp_path, rule):
    dense, small, back = (tmp_path / name for name in ("dense.safetensors", "small.safetensors", "back.safetensors"))
    client.compress(model, dense, rule=rule).result()
    result = client.compress(model, small, rule=rule, encoding="packed").result()
    unpack(small, back)
    assert back.read_bytes() == dense.read_bytes()
    assert result.packed.stored_bytes == small.stat().st_size < dense.stat().st_size
    assert result.packed.logical_bytes == dense.stat().st_size
    expected = load_file(dense)
    assert {name: array.tobytes() for name, array in load_packed(small).items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


def test_half_a_file_of_normal_weights_takes_less_than_half(client, model, tmp_path):
    sizes = client.compress(model, tmp_path / "small.safetensors", rule=HALF, encoding="packed").result().packed
    assert sizes.ratio > 2
    assert sizes.stored_bytes < 1.05 * sizes.limit_bytes


def test_the_report_tells_three_sizes_and_verify_holds_them(client, model, tmp_path):
    small, report = tmp_path / "small.safetensors", tmp_path / "report.json"
    result = client.compress(model, small, rule=HALF, encoding="packed").result()
    write_report(result, report)
    plain = json.loads(report.read_text())
    schema = json.loads(files("ellq_client").joinpath("report.schema.json").read_text())
    jsonschema.validate(plain, schema, cls=jsonschema.Draft202012Validator)
    assert plain["request"]["encoding"] == "packed"
    assert plain["output"]["packed"]["stored_bytes"] == small.stat().st_size
    assert verify(model, small, report).report_checked
    assert verify(model, small).weights_cut > 0
    for size in ("logical_bytes", "stored_bytes", "limit_bytes"):
        wrong = json.loads(report.read_text())
        wrong["output"]["packed"][size] += 3
        (tmp_path / "wrong.json").write_text(json.dumps(wrong))
        with pytest.raises(ClaimRefuted, match=f"output.packed.{size}"):
            verify(model, small, tmp_path / "wrong.json")


def test_verify_sees_a_damaged_packed_file(client, model, tmp_path):
    small = tmp_path / "small.safetensors"
    client.compress(model, small, rule=HALF, encoding="packed").result()
    whole = small.read_bytes()
    small.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    with pytest.raises(SourceError, match="do not have their digest"):
        verify(model, small)
    small.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # the digest itself: weights are right
    with pytest.raises(SourceError, match="do not have their digest"):
        verify(model, small)


def test_what_was_unpacked_holds_but_for_its_size_as_packed(client, model, tmp_path):
    small, back, report = (tmp_path / name for name in ("small.safetensors", "back.safetensors", "report.json"))
    write_report(client.compress(model, small, rule=HALF, encoding="packed").result(), report)
    unpack(small, back)
    held = verify(model, back, report)
    assert held.unchecked == ("how large the output was as packed: it is not packed any more",)


def test_what_was_packed_afterwards_holds(client, model, tmp_path):
    dense, small, report = (tmp_path / name for name in ("dense.safetensors", "small.safetensors", "report.json"))
    write_report(client.compress(model, dense, rule=HALF).result(), report)
    sizes = pack(dense, small)
    assert sizes.stored_bytes == small.stat().st_size
    assert verify(model, small, report).unchecked == ()


def test_a_packed_source_is_its_dense_one(client, model, tmp_path):
    pack(model, tmp_path / "packed.safetensors")
    client.compress(tmp_path / "packed.safetensors", tmp_path / "one.safetensors", rule=HALF).result()
    client.compress(model, tmp_path / "two.safetensors", rule=HALF).result()
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    before = client.analyze(model).result()
    after = client.analyze(tmp_path / "packed.safetensors").result()
    assert after.tensors == before.tensors
    assert after.source.header_sha256 == before.source.header_sha256
    assert verify(tmp_path / "packed.safetensors", tmp_path / "two.safetensors").weights_cut > 0


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, "packed weights are stored, not handed back in memory"),
        ("out.npz", "packed weights are stored as .safetensors"),
        ("model.safetensors", "is the source itself"),
    ],
)
def test_places_where_packed_weights_cannot_go(client, model, tmp_path, output, message):
    place = None if output is None else tmp_path / output
    with pytest.raises(OutputError, match=message):
        client.compress(model, place, rule=HALF, encoding="packed").result()
    assert [one.name for one in tmp_path.iterdir()] == ["model.safetensors"]


def test_packing_twice_or_unpacking_what_is_dense_is_refused(model, tmp_path):
    pack(model, tmp_path / "packed.safetensors")
    with pytest.raises(SourceError, match=r"packed\.safetensors is packed already"):
        pack(tmp_path / "packed.safetensors", tmp_path / "x.safetensors")
    with pytest.raises(SourceError, match=r"model\.safetensors is not packed"):
        unpack(model, tmp_path / "x.safetensors")
    with pytest.raises(OutputError, match="is the source itself"):
        unpack(tmp_path / "packed.safetensors", tmp_path / "packed.safetensors")


def bytes_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_packed_under_names_that_no_loader_looks_for(client, tmp_path):
    model = write_model(tmp_path / "model")
    client.compress(model, tmp_path / "dense", rule=HALF).result()
    result = client.compress(model, tmp_path / "small", rule=HALF, encoding="packed").result()
    small, dense = bytes_of(tmp_path / "small"), bytes_of(tmp_path / "dense")
    weights = [name for name in dense if name.endswith(".safetensors")]
    assert {name for name in small if name.endswith(".safetensors")} == {
        name.replace(".safetensors", ".packed.safetensors") for name in weights
    }
    others = {*dense} - {*weights, "ellq-report.json"}
    assert others
    assert {name: small[name] for name in others} == {name: dense[name] for name in others}
    stored = sum(len(data) for name, data in small.items() if name.endswith(".safetensors"))
    assert (result.packed.logical_bytes, result.packed.stored_bytes) == (sum(len(dense[name]) for name in weights), stored)
    unpack(tmp_path / "small", tmp_path / "back")
    back = bytes_of(tmp_path / "back")
    assert {name: back[name] for name in (*weights, *others)} == {name: dense[name] for name in (*weights, *others)}
    assert {name: array.tobytes() for name, array in load_packed(tmp_path / "small").items()} == {
        name: array.tobytes() for shard in weights for name, array in load_file(tmp_path / "dense" / shard).items()
    }


@pytest.mark.parametrize("rule", [HALF, Fraction(pruned_ratio=0.5, scope="global")])
def test_a_packed_folder_is_verified_and_done_when_repeated(client, tmp_path, rule):
    model, small = write_model(tmp_path / "model"), tmp_path / "small"
    first = client.compress(model, small, rule=rule, encoding="packed").result()
    whole = bytes_of(small)
    assert verify(model, small, small / "ellq-report.json").report_checked
    again = client.compress(model, small, rule=rule, encoding="packed").result()
    assert bytes_of(small) == whole
    assert again.packed == first.packed
    with pytest.raises(OutputError, match="another encoding"):
        client.compress(model, small, rule=rule).result()


def test_a_folder_that_was_interrupted_goes_on_packed(client, tmp_path, monkeypatch):
    model, small, other = write_model(tmp_path / "model"), tmp_path / "small", tmp_path / "other"
    client.compress(model, other, rule=HALF, encoding="packed").result()
    finish, finished = PackedShardFile.finish, []

    def fail_at_the_third(self):
        finished.append(self)
        if len(finished) > 2:
            raise OSError(28, "No space left on device")
        finish(self)

    with monkeypatch.context() as patch:
        patch.setattr(PackedShardFile, "finish", fail_at_the_third)
        with pytest.raises(OutputError, match="No space left"):
            client.compress(model, small, rule=HALF, encoding="packed").result()
    with pytest.raises(OutputError, match="begun with another encoding: packed, now dense"):
        client.compress(model, small, rule=HALF).result()
    client.compress(model, small, rule=HALF, encoding="packed").result()
    assert bytes_of(small) == bytes_of(other)


def test_a_folder_is_packed_and_unpacked_without_a_server(tmp_path):
    model = write_model(tmp_path / "model")
    sizes = pack(model, tmp_path / "packed")
    assert [shard.name for shard in open_folder(tmp_path / "packed").shards] == [
        shard.name for shard in open_folder(model).shards
    ]
    assert sizes.logical_bytes == open_folder(model).size_bytes
    (tmp_path / "back").mkdir()
    unpack(tmp_path / "packed", tmp_path / "back")
    assert bytes_of(tmp_path / "back") == bytes_of(model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "model", "packed"]


def test_folders_that_cannot_be_unpacked_leave_nothing(tmp_path):
    model, packed = write_model(tmp_path / "model"), tmp_path / "packed"
    pack(model, packed)
    with pytest.raises(SourceError, match="is not packed"):
        unpack(model, tmp_path / "out")
    with pytest.raises(SourceError, match="packed already"):
        pack(packed, tmp_path / "out")
    with pytest.raises(OutputError, match="no empty folder"):
        unpack(packed, model)
    with pytest.raises(OutputError, match="lie one in the other"):
        unpack(packed, packed / "out")
    last = max(packed.glob("*.packed.safetensors"))
    whole = last.read_bytes()
    last.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SourceError, match="do not have their digest"):
        unpack(packed, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "packed"]
    shard = last.name.replace(".packed", "")
    (packed / shard).write_bytes((model / shard).read_bytes())
    with pytest.raises(SourceError, match="the same shard, dense and packed"):
        unpack(packed, tmp_path / "out")
    last.write_bytes((model / shard).read_bytes())
    (packed / shard).unlink()
    with pytest.raises(SourceError, match="named like a packed shard, but is not packed"):
        unpack(packed, tmp_path / "out")


def test_the_command_line_packs_and_unpacks(ellq, model, tmp_path):
    small, back = tmp_path / "small.safetensors", tmp_path / "back.safetensors"
    code, out, err = ellq(
        "compress", model, "-o", small, "--rule", "n-of-m", "--encoding", "packed", "--json", tmp_path / "r.json"
    )
    assert code == 0, err
    assert f"bytes packed in {small.stat().st_size:,}".replace(",", " ") in out
    assert "order-0 entropy" in out
    assert ellq("verify", model, small, "--report", tmp_path / "r.json")[0] == 0
    assert ellq("unpack", small, "-o", back)[0] == 0
    assert back.stat().st_size == model.stat().st_size
    assert "back.safetensors exists" in ellq("unpack", small, "-o", back)[2]
    assert ellq("unpack", small, "-o", back, "--force")[0] == 0
    assert ellq("unpack", model, "-o", tmp_path / "x.safetensors")[0] == 5
    code, out, _ = ellq("pack", back, "-o", tmp_path / "again.safetensors")
    assert code == 0
    assert (tmp_path / "again.safetensors").read_bytes() == small.read_bytes()
    code, _, err = ellq("compress", model, "-o", tmp_path / "y.safetensors", "--rule", "n-of-m", "--encoding", "zip")
    assert code == 2
    assert "'zip' is not one of dense, packed" in err


def test_the_missing_package_is_named_before_any_work(model, tmp_path, monkeypatch, ellq):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    code, _, err = ellq("pack", model, "-o", tmp_path / "x.safetensors")
    assert code == 2
    assert "pip install 'ellq[packed]'" in err
    assert [one.name for one in tmp_path.iterdir()] == ["model.safetensors"]


def test_an_encoding_that_is_none_is_refused(client, model, tmp_path):
    for word in ("Packed", "zip", None):
        with pytest.raises(InvalidRequest, match="is not one of dense, packed") as caught:
            client.compress(model, tmp_path / "x.safetensors", rule=HALF, encoding=word).result()
        assert repr(word) in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["model.safetensors"]


def test_places_that_cannot_be_written_are_told_in_words(model, tmp_path, monkeypatch, ellq):
    folder, here = write_model(tmp_path / "model"), tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    code, _, err = ellq("pack", folder, "-o", ".")
    assert (code, err.count("\n")) == (2, 1)
    assert "is the folder that this runs in" in err
    for source in (model, folder):
        code, _, err = ellq("pack", source, "-o", "a" * 262)
        assert (code, err.count("\n")) == (5, 1)
        assert "File name too long" in err
    code, _, err = ellq("pack", "a" * 262, "-o", "x.safetensors")
    assert (code, err.count("\n")) == (5, 1)
    assert not list(here.iterdir())
    assert ellq("pack", folder, "-o", "../here/../there")[0] == 0
    assert (tmp_path / "there" / "model.safetensors.index.json").exists()


@pytest.mark.parametrize("uri", ["s3://bucket/key.safetensors", "hf://owner/name", "file:///tmp/x.safetensors"])
def test_a_uri_is_no_local_file(model, tmp_path, uri, ellq):
    words = "a URI is read by a server; this command takes local files"
    for command in (
        ("pack", uri, "-o", "x.safetensors"),
        ("pack", model, "-o", uri),
        ("unpack", uri, "-o", "x.safetensors"),
        ("unpack", model, "-o", uri),
        ("verify", uri, model),
        ("verify", model, uri),
        ("verify", model, model, "--report", uri),
    ):
        code, _, err = ellq(*command)
        assert code == 2
        assert words in err
    code, _, err = ellq("analyze", model, "--json", uri)
    assert code == 2
    assert "a report is written to a local file" in err
    for call in (lambda: pack(uri, tmp_path / "x"), lambda: unpack(model, uri), lambda: load_packed(uri)):
        with pytest.raises((InvalidRequest, SourceError)):
            call()


def test_packing_shows_how_far_it_is(model, tmp_path, monkeypatch, ellq):
    monkeypatch.setattr("ellq_client.cli.progress._WORTH_LINES_BYTES", 0)
    small, folder = tmp_path / "small.safetensors", write_model(tmp_path / "model")
    size = f"{model.stat().st_size / 1e6:.1f}"
    for command in (("pack", model, "-o", small), ("unpack", small, "-o", tmp_path / "back.safetensors")):
        err = ellq(*command)[2]
        assert f"{command[1].name}: {size} of {size} MB" in err
        assert ", at" not in err
        assert ellq(*command, "--force", "--quiet") == (0, "", "")
    assert ", at model-0000" in ellq("pack", folder, "-o", tmp_path / "packed")[2]
    assert ", at model-0000" in ellq("unpack", tmp_path / "packed", "-o", tmp_path / "unpacked")[2]


def test_of_other_formats_the_tensors_alone_are_packed_and_that_is_said(tmp_path, ellq):
    np.savez(tmp_path / "w.npz", w=np.ones((4, 4), np.float32))
    code, out, _ = ellq("pack", tmp_path / "w.npz", "-o", tmp_path / "w.safetensors")
    assert code == 0
    assert out.endswith("; of w.npz the tensors alone\n")


def test_memory_does_not_grow_with_the_number_of_tensors(tmp_path):
    path, tensors = tmp_path / "many.safetensors", {f"w{place}": np.ones(8, np.float64) for place in range(4000)}
    save_file(tensors, path)
    tracemalloc.start()
    pack(path, tmp_path / "packed.safetensors")
    with PackedCheckpoint(tmp_path / "packed.safetensors") as packed:
        packed.sizes()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4000 * 8000
