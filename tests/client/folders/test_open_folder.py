"""What a folder says of itself is held together before any weight is read; whatever contradicts itself is listed."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.client.folders.models import INDEX, read_index, shard_name, write_index, write_model

from ellq_client import SourceError
from ellq_client.folders.files import PROGRESS, trees_of
from ellq_client.folders.folder import open_folder
from ellq_client.steady_file import SteadyFile

FIRST, SECOND, THIRD = (shard_name(number, 3) for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def _no_weight_is_read(monkeypatch):
    monkeypatch.setattr(SteadyFile, "pieces", lambda *_: pytest.fail("a weight was read"))


def edit(root, change):
    index = read_index(root)
    change(index)
    (root / INDEX).write_text(json.dumps(index))


def test_shards_come_by_name_and_everything_else_is_listed(model):
    (model / ".git").mkdir()
    (model / ".git" / "weights.lfs").write_text("all of them again")
    folder = open_folder(model)
    assert [shard.name for shard in folder.shards] == [FIRST, SECOND, THIRD]
    assert {file.name for file in folder.others} == {"config.json", "LICENSE", "1_Pooling/config.json", "run.sh"}
    assert folder.payload_bytes == read_index(model)["metadata"]["total_size"]


def test_a_single_file_needs_no_index(tmp_path):
    save_file({"w": np.ones((2, 2), np.float32)}, tmp_path / "anything.safetensors")
    folder = open_folder(tmp_path)
    assert ([shard.name for shard in folder.shards], folder.index) == (["anything.safetensors"], None)


def test_everything_that_is_wrong_is_told_at_once(model):
    def lie(index):
        places = index["weight_map"]
        places["layer1.bias"] = SECOND  # wrong shard
        places["ghost"] = THIRD  # no such tensor
        del places["layer3.weight"]  # a tensor that is not listed

    edit(model, lie)
    twice = load_file(model / THIRD) | {"layer2.bias": np.zeros(6, np.float32)}
    save_file(twice, model / THIRD)
    with pytest.raises(SourceError) as caught:
        open_folder(model)
    assert str(caught.value).splitlines()[1:] == [
        f"  {INDEX} says that tensor 'layer1.bias' is in {SECOND}; it is in {FIRST}",
        f"  {INDEX} says that tensor 'ghost' is in {THIRD}; it is in no shard",
        f"  tensor 'layer2.bias' is in {SECOND} and {THIRD}; allowed is one place",
        f"  tensor 'layer3.weight' of {THIRD} is not in {INDEX}",
    ]


def test_a_long_list_is_cut(model):
    edit(model, lambda index: index["weight_map"].update({f"ghost{place}": FIRST for place in range(50)}))
    with pytest.raises(SourceError, match="and 40 more"):
        open_folder(model)


def test_shards_that_are_missing_and_shards_that_nothing_names(model):
    (model / SECOND).rename(model / "consolidated.safetensors")
    with pytest.raises(SourceError) as caught:
        open_folder(model)
    assert f"names the shard '{SECOND}', which is no .safetensors file here" in str(caught.value)
    assert f"consolidated.safetensors is no shard that {INDEX} names" in str(caught.value)


@pytest.mark.parametrize("place", ["../outside.safetensors", "/etc/passwd", "1_Pooling/inner.safetensors", ".."])
def test_a_shard_is_a_file_of_the_folder_itself(model, place):
    save_file({"w": np.ones((2, 2), np.float32)}, model.parent / "outside.safetensors")
    save_file({"w": np.ones((2, 2), np.float32)}, model / "1_Pooling" / "inner.safetensors")
    edit(model, lambda index: index["weight_map"].update(w=place))
    with pytest.raises(SourceError, match=r"which is no \.safetensors file here"):
        open_folder(model)


@pytest.mark.parametrize("change", [-1, 1], ids=["cut off", "with bytes behind"])
def test_shards_of_another_length_than_their_header_tells(model, change):
    data = (model / THIRD).read_bytes()
    (model / THIRD).write_bytes(data[:change] if change < 0 else data + b"x")
    with pytest.raises(SourceError, match=r"00003-of-00003\.safetensors is (cut off|no safetensors file)"):
        open_folder(model)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "the index is not an object"),
        ("{", "Expecting property name"),
        ('{"weight_map": []}', "weight_map is not an object"),
        ('{"weight_map": {}}', "the name of its shard"),
        ('{"weight_map": {"a": 1}}', "the name of its shard"),
        ('{"metadata": 3, "weight_map": {"a": "b"}}', "metadata is not an object"),
        ('{"weight_map": {"a": "b", "a": "c"}}', "it names 'a' twice"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "no index of shards"),
    ],
)
def test_what_is_no_index_is_refused(model, text, told):
    (model / INDEX).write_text(text)
    with pytest.raises(SourceError, match=f"{INDEX} is no index of shards|{told}") as caught:
        open_folder(model)
    assert told in str(caught.value)


def test_folders_that_hold_no_checkpoint_or_several(model, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"exactly one \.safetensors file in it; found: none"):
        open_folder(tmp_path / "empty")
    for name in ("optimizer.pt", "training_args.bin", "pytorch_model.bin", "unet/model.safetensors", "vae/model.safetensors"):
        (tmp_path / "empty" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "empty" / name).write_bytes(b"")
    with pytest.raises(SourceError) as caught:
        open_folder(tmp_path / "empty")
    *_, formats, inside = str(caught.value).splitlines()
    assert formats.endswith(f"ellq compress {tmp_path / 'empty' / 'pytorch_model.bin'} (here: pytorch_model.bin)")
    assert inside.endswith(f"ellq compress {tmp_path / 'empty' / 'unet'} (here: unet, vae)")
    (model / "model.fp16.safetensors.index.json").write_text((model / INDEX).read_text())
    with pytest.raises(SourceError, match="it has 2 indices"):
        open_folder(model)
    for name in (INDEX, "model.fp16.safetensors.index.json"):
        (model / name).unlink()
    with pytest.raises(SourceError, match=f"found: {FIRST}, {SECOND}, {THIRD}"):
        open_folder(model)


def cached(model):
    """Turn a folder into a snapshot in a hub's cache, and return that."""
    repository = model.parent / "models--org--name"
    snapshot = repository / "snapshots" / "0123abcd"
    (repository / "blobs").mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in model.rglob("*") if path.is_file())):
        place = snapshot / path.relative_to(model)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(repository / "blobs" / str(number))
        place.symlink_to(os.path.relpath(repository / "blobs" / str(number), place.parent))
    return snapshot


def test_links_of_a_hub_cache_are_followed(model):
    expected = open_folder(model)
    found = open_folder(cached(model))
    assert [shard.header for shard in found.shards] == [shard.header for shard in expected.shards]
    assert [shard.source.name for shard in found.shards] == [FIRST, SECOND, THIRD]
    assert {file.name for file in found.others} == {file.name for file in expected.others}
    assert all(file.path.parent.name == "blobs" for file in found.others)


@pytest.mark.parametrize("name", [SECOND, "notes.txt"], ids=["a shard", "another file"])
@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_links_never_lead_out(model, name, kind):
    snapshot = cached(model)
    (model.parent / "secret").write_text("x")
    (snapshot / name).unlink(missing_ok=True)
    (snapshot / name).symlink_to("../../../secret" if kind == "relative" else model.parent / "secret")
    with pytest.raises(
        SourceError, match=f"{name} is a link that leads out of .*0123abcd and .*models--org--name/blobs, to .*/secret"
    ):
        open_folder(snapshot)


def test_links_are_followed_once(model):
    snapshot = cached(model)
    blobs = snapshot.parent.parent / "blobs"
    (blobs / "again").symlink_to("0")
    (blobs / "out").symlink_to("/")
    (snapshot / "a.txt").symlink_to("../../blobs/again")
    (snapshot / "b.txt").symlink_to("../../blobs/out/etc/hostname")
    (snapshot / "c.txt").symlink_to("c.txt")
    (snapshot / "d.txt").symlink_to("../../blobs/nothing")
    (snapshot / "e").symlink_to("../../blobs")
    os.mkfifo(snapshot / "f")
    with pytest.raises(SourceError) as caught:
        open_folder(snapshot)
    told = sorted(caught.value.args[0].splitlines()[1:])
    assert [line.split()[0] for line in told] == ["a.txt", "b.txt", "c.txt", "d.txt", "e", "f"]
    assert all("behind another link" in line for line in told[:3])
    assert "which does not exist" in told[3]
    assert all("no ordinary file" in line for line in told[4:])


def test_outside_of_a_cache_the_tree_is_the_folder_itself(model):
    (model.parent / "beside").write_text("x")
    (model / "inside").symlink_to("config.json")
    open_folder(model)
    (model / "outside").symlink_to("../beside")
    with pytest.raises(SourceError, match="outside is a link that leads out"):
        open_folder(model)


def test_a_parent_called_snapshots_makes_no_hub_cache(model):
    home = model.parent / "home"
    (home / "snapshots").mkdir(parents=True)
    (home / "secret").write_text("x")
    place = model.rename(home / "snapshots" / "mine")
    assert trees_of(place) == (place,)
    (place / "README.md").symlink_to("../../secret")
    for blobs in (False, True):
        if blobs:
            (home / "blobs").mkdir()
        with pytest.raises(SourceError, match=r"README\.md is a link that leads out of .*, to .*/secret"):
            open_folder(place)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_the_name_of_the_work_is_taken(model, kind):
    place = model / PROGRESS
    place.write_text("x") if kind == "file" else place.symlink_to("config.json")
    with pytest.raises(SourceError, match=f"{PROGRESS}: the output needs this name"):
        open_folder(model)


def test_half_a_surrogate_pair_in_the_index_is_refused(model):
    edit(model, lambda index: index.update(note="\ud800"))
    with pytest.raises(SourceError, match=rf"{INDEX} is no index of shards: .*surrogate pair.*\\ud800"):
        open_folder(model)


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "raw"])
@pytest.mark.parametrize("place", ["name", "field", "metadata"])
def test_half_a_surrogate_pair_in_a_header_is_refused(tmp_path, escaped, place):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = {
        "name": {"\ud800": entry},
        "field": {"w": {**entry, "note": "\ud800"}},
        "metadata": {"__metadata__": {"a": "\ud800"}, "w": entry},
    }[place]
    text = json.dumps(header, ensure_ascii=escaped).encode(errors="surrogatepass")
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(SourceError, match=r"a\.safetensors is no safetensors file: .*(surrogate pair|can't decode)"):
        open_folder(tmp_path)


@pytest.mark.parametrize("name", [b"\xff.safetensors", b"\xff.safetensors.index.json"])
def test_names_that_are_not_utf8_are_refused(model, name):
    os.rename(model / (FIRST if name.endswith(b"safetensors") else INDEX), os.fsencode(model) + b"/" + name)
    with pytest.raises(SourceError, match=r"'\\udcff\.safetensors.*' is not UTF-8; rename it"):
        open_folder(model)


def test_a_folder_whose_own_name_is_not_utf8_is_refused(model):
    place = model.parent / os.fsdecode(b"\xff")
    os.rename(model, place)
    with pytest.raises(SourceError, match=r"'\\udcff' is not UTF-8; rename it"):
        open_folder(place)


def test_other_files_may_have_any_name(model):
    (model / os.fsdecode(b"\xff.txt")).write_text("x")
    assert os.fsdecode(b"\xff.txt") in {file.name for file in open_folder(model).others}


def test_an_infinite_shape_is_refused(tmp_path):
    text = b'{"a": {"dtype": "F32", "shape": [1e999, 4], "data_offsets": [0, 64]}}'
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    with pytest.raises(SourceError, match=r"a\.safetensors is no safetensors file: .*inf"):
        open_folder(tmp_path)


def test_the_true_size_is_written_and_a_true_index_is_left_as_it_is(tmp_path):
    folder = open_folder(write_model(tmp_path / "model"))
    assert folder.index.with_total(folder.payload_bytes) == folder.index.text
    weight_map = dict(folder.index.weight_map)
    for metadata in ({"total_size": 1, "kept": "é"}, {"total_size": "many", "kept": "é"}, {"kept": "é"}):
        write_index(tmp_path / "model", weight_map, metadata)
        found = open_folder(tmp_path / "model").index.with_total(folder.payload_bytes)
        told = {"total_size": folder.payload_bytes, "kept": "é"}
        assert json.loads(found) == {"metadata": told, "weight_map": weight_map}
