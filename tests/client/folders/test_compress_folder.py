"""A folder in, a folder out: the same shards with zeros, a true index, everything else as it was."""

import asyncio
import errno
import json
import os
import shutil
from importlib.resources import files

import jsonschema
import ml_dtypes
import numpy as np
import pytest
from referencing import Registry, Resource
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tests.client.folders.models import INDEX, read_index, shard_name, tree, write_index, write_model

from ellq_client import (
    AsyncClient,
    ClaimRefuted,
    FolderCompression,
    Fraction,
    InvalidOutput,
    InvalidRequest,
    OutputError,
    ReportError,
    SourceError,
    Tail,
    pack,
    verify,
    write_report,
)
from ellq_client.folders.chain import ChainedCheckpoint, ChainedSource
from ellq_client.folders.files import PROGRESS
from ellq_client.folders.finished import REPORT
from ellq_client.folders.folder import open_folder
from ellq_client.networks import Input, Linear, chain

TAIL = Tail(epsilon=0.3, p=2)
HALF_OF_ALL = Fraction(pruned_ratio=0.5, scope="global")
COMPRESSED = [f"layer{number}.weight" for number in (1, 2, 3)]


def whole(root):
    """Return all tensors of a folder."""
    return {name: array for path in sorted(root.glob("*.safetensors")) for name, array in load_file(path).items()}


def joined(root, place):
    """Write all tensors of a folder as one file, in the order in which a chain has them."""
    source = ChainedSource(open_folder(root).shards, name="all")
    place.write_bytes(b"".join(source.frames()))
    return place


def test_shards_are_compressed_and_everything_else_comes_along(client, model, tmp_path):
    out = tmp_path / "out"
    result = client.compress(model, out, rule=TAIL).result()
    assert isinstance(result, FolderCompression)
    before, after = tree(model), tree(out)
    assert after.keys() == before.keys() | {REPORT}
    for name in before:
        if not name.endswith(".safetensors"):
            assert after[name] == before[name]
    weights, cut = whole(model), whole(out)
    for name, array in weights.items():
        changed = cut[name] != array
        assert changed.any() == (name in COMPRESSED)
        assert not cut[name][changed].any()
    assert result.summary.zeros_after == sum(int((cut[name] == 0).sum()) for name in COMPRESSED)
    assert (out / "run.sh").stat().st_mode & 0o111
    with safe_open(out / shard_name(2, 3), "np") as shard:
        assert shard.metadata() == {"format": "pt", "shard": "2"}


def test_each_shard_is_what_it_would_be_alone(client, model, tmp_path):
    client.compress(model, tmp_path / "out", rule=TAIL).result()
    for number in (1, 2, 3):
        name = shard_name(number, 3)
        client.compress(model / name, tmp_path / "alone", rule=TAIL).result()
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone").read_bytes()


def test_one_threshold_over_all_shards_shares_ties_in_their_order(client, small_client, tmp_path):
    """Of a file with the same tensors in the same order, whether the server holds all of it or not."""
    model = write_model(tmp_path / "model", rows=200, columns=128)
    file = joined(model, tmp_path / "all.safetensors")
    client.compress(file, tmp_path / "one.safetensors", rule=HALF_OF_ALL).result()
    expected = load_file(tmp_path / "one.safetensors")
    shared = [load_file(file)[name] for name in COMPRESSED]
    median = np.median(np.abs(np.concatenate(shared)))
    assert all((np.abs(array) == median).any() for array in shared), "ties lie in every shard"
    for number, each in enumerate((client, small_client)):
        out = tmp_path / f"out{number}"
        result = each.compress(model, out, rule=HALF_OF_ALL).result()
        assert len(result.parts) == 1
        found = whole(out)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
        assert tree(out)[INDEX] == tree(model)[INDEX]


def test_the_small_server_really_needs_sketches(small_client, tmp_path):
    model = write_model(tmp_path / "model", rows=200, columns=128)
    seen = []
    opened = small_client._connection.open
    small_client._connection.open = lambda method, *rest, **options: (seen.append(method), opened(method, *rest, **options))[1]
    try:
        small_client.compress(model, tmp_path / "out", rule=HALF_OF_ALL).result()
    finally:
        del small_client._connection.open
    passes = ["Analyze"] * 3 * 2  # for each shard, a digit each
    assert seen == ["Compress", *passes, *["Compress"] * 3]


def test_a_network_may_span_shards(client, tmp_path):
    model = write_model(tmp_path / "model", shards=2, rows=8, columns=8)
    network = chain(Input(8), Linear("layer1.weight"), Linear("layer2.weight")).with_inputs(box=(-1, 1))
    result = client.compress(model, tmp_path / "out", rule=TAIL, network=network).result()
    write_report(result, tmp_path / "report.json")
    assert result.network.reaches_output
    assert not verify(model, tmp_path / "out", tmp_path / "report.json", network=network).unchecked
    assert verify(model, tmp_path / "out", tmp_path / "report.json").unchecked


def test_totals_are_those_of_the_weights(client, model, tmp_path):
    result = client.compress(model, tmp_path / "out", rule=TAIL).result()
    weights, cut = whole(model), whole(tmp_path / "out")
    assert [tensor.tensor for tensor in result.tensors] == list(range(7))
    assert result["layer2.weight"].measurement.weights == 48
    summary = result.summary
    assert (summary.tensors, summary.compressible_tensors, summary.weights) == (7, 3, 144)
    moved = np.sqrt(sum(((weights[name].astype(float) - cut[name]) ** 2).sum() for name in COMPRESSED))
    norm = np.sqrt(sum((weights[name].astype(float) ** 2).sum() for name in COMPRESSED))
    assert moved <= summary.frobenius <= moved * (1 + 1e-9)
    assert moved / norm <= summary.frobenius_ratio <= moved / norm * (1 + 1e-9)


def test_warnings_speak_of_the_whole_folder(client, model, tmp_path):
    write_index(model, read_index(model)["weight_map"], {"total_size": 5})
    options = {"exclude": ["layer2*", "nothing*"]}
    result = client.compress(model, tmp_path / "out", rule=TAIL, **options).result()
    told = [(one.code, one.subject) for one in result.warnings]
    assert told == [("index_total_size", INDEX), ("glob_without_match", "nothing*")]
    assert read_index(tmp_path / "out")["metadata"]["total_size"] == open_folder(model).payload_bytes


def test_a_folder_with_one_file(client, tmp_path):
    (tmp_path / "model").mkdir()
    save_file({"w": np.arange(12, dtype=np.float32).reshape(3, 4)}, tmp_path / "model" / "model.safetensors")
    result = client.compress(tmp_path / "model", tmp_path / "out", rule=TAIL).result()
    write_report(result, tmp_path / "report.json")
    assert {*tree(tmp_path / "out")} == {"model.safetensors", REPORT}
    assert verify(tmp_path / "model", tmp_path / "out", tmp_path / "report.json").report_checked


@pytest.mark.parametrize("scope", ["neuron", "global"])
def test_shards_without_a_weight_are_written_too(client, tmp_path, scope):
    model = write_model(tmp_path / "model")
    weight_map = read_index(model)["weight_map"]
    for name in ("y", "z"):  # behind all others
        save_file({f"{name}.weight": np.zeros((0, 4), np.float32)}, model / f"{name}.safetensors")
        weight_map[f"{name}.weight"] = f"{name}.safetensors"
    write_index(model, weight_map, {})
    client.compress(model, tmp_path / "out", rule=Fraction(pruned_ratio=0.5, scope=scope)).result()
    for name in ("y", "z"):
        assert (tmp_path / "out" / f"{name}.safetensors").read_bytes() == (model / f"{name}.safetensors").read_bytes()
    assert verify(model, tmp_path / "out", tmp_path / "out" / REPORT).tensors == 9


def test_weights_may_come_back_in_memory(client, model, tmp_path):
    found = client.compress(model, rule=TAIL).result().weights
    client.compress(model, tmp_path / "out", rule=TAIL).result()
    for name, array in whole(tmp_path / "out").items():
        np.testing.assert_array_equal(found[name], array)


def test_analysis_takes_all_shards_as_one(client, model, tmp_path):
    found = client.analyze(model, rule=HALF_OF_ALL).result()
    expected = client.analyze(joined(model, tmp_path / "all.safetensors"), rule=HALF_OF_ALL).result()
    assert found.tensors == expected.tensors
    assert found.summary.global_ == expected.summary.global_
    assert found.source.name == "model"


def test_the_same_with_asyncio(client, model, tmp_path, monkeypatch):
    monkeypatch.delenv("ELLQ_SERVER", raising=False)

    async def run():
        async with AsyncClient() as client, client.compress(model, tmp_path / "awaited", rule=TAIL) as run:
            return [report.name async for report in run], await run.result()

    names, result = asyncio.run(run())
    client.compress(model, tmp_path / "out", rule=TAIL).result()
    assert tree(tmp_path / "awaited") == tree(tmp_path / "out")
    assert names == [tensor.name for tensor in result.tensors]


def test_a_true_report_holds_and_every_lie_is_found(client, model, tmp_path):
    out = tmp_path / "out"
    result = client.compress(model, out, rule=TAIL).result()
    write_report(result, tmp_path / "report.json")
    assert (tmp_path / "report.json").read_bytes() == (out / REPORT).read_bytes()
    found = verify(model, out, tmp_path / "report.json")
    assert (found.tensors, found.report_checked, found.unchecked) == (7, True, ())
    assert verify(model, out).weights_cut == found.weights_cut > 0

    told = json.loads((out / REPORT).read_text())
    for path, value in [
        (("parts", 1, "report", "tensors", 1, "allocation", "kept"), 1),
        (("parts", 0, "report", "summary", "kept"), 3),
        (("summary", "kept"), 3),
        (("summary", "frobenius"), told["summary"]["frobenius"] * (1 - 2.0**-40)),
        (("summary", "frobenius_ratio"), told["summary"]["frobenius_ratio"] * (1 - 2.0**-40)),
        (("summary", "frobenius_ratio"), None),
        (("summary", "global"), told["parts"][0]["report"]["summary"]["global"]),
        (("summary", "warnings"), [{"code": "torn_layer", "subject": "layer1.weight", "text": "torn"}]),
        (("parts", 2, "report", "request", "rule", "epsilon"), 0.2),
        (("parts", 1, "shards"), [shard_name(1, 3)]),
    ]:
        lie = json.loads(json.dumps(told))
        place = lie
        for step in path[:-1]:
            place = place[step]
        assert place[path[-1]] != value
        place[path[-1]] = value
        (tmp_path / "lie.json").write_text(json.dumps(lie))
        with pytest.raises(ClaimRefuted):
            verify(model, out, tmp_path / "lie.json")
    with pytest.raises(ReportError, match=r"no report of schema 'ellq\.folder-report/2'"):
        verify(model, out, model / "config.json")


def test_the_report_fits_its_schema(client, model, tmp_path):
    schemas = [
        json.loads(files("ellq_client").joinpath(f"{name}.schema.json").read_text()) for name in ("report", "folder-report")
    ]
    known = Registry().with_resources((schema["$id"], Resource.from_contents(schema)) for schema in schemas)
    validator = jsonschema.Draft202012Validator(schemas[1], registry=known)
    client.compress(model, tmp_path / "out", rule=TAIL).result()
    told = json.loads((tmp_path / "out" / REPORT).read_text())
    validator.validate(told)
    assert told["summary"]["kept"] == sum(part["report"]["summary"]["kept"] for part in told["parts"])
    del told["parts"][0]["report"]["summary"]["kept"]
    with pytest.raises(jsonschema.ValidationError, match="kept"):
        validator.validate(told)


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", INDEX, shard_name(2, 3)])
def test_verify_holds_every_file(client, model, tmp_path, name):
    out = tmp_path / "out"
    client.compress(model, out, rule=TAIL).result()
    if name == INDEX:
        write_index(out, read_index(out)["weight_map"], {"total_size": 1})
    elif name.endswith(".safetensors"):
        raised = {key: array + 1 for key, array in load_file(out / name).items()}
        save_file(raised, out / name, metadata={"format": "pt", "shard": "2"})
    else:
        (out / name).write_text("other")
    with pytest.raises(ClaimRefuted):
        verify(model, out)


def test_what_the_server_refuses_leaves_nothing(client, model, tmp_path):
    with pytest.raises(InvalidRequest):
        client.compress(model, tmp_path / "out", rule=Tail(epsilon=2, p=2)).result()
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidRequest):
        client.compress(model, tmp_path / "out", rule=Tail(epsilon=2, p=2)).result()
    assert not list((tmp_path / "out").iterdir())


def test_outputs_that_hold_anything_are_not_touched(client, model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(OutputError, match=r"out is not empty \(mine"):
        client.compress(model, tmp_path / "out", rule=TAIL).result()
    assert tree(tmp_path / "out") == {"mine": b"x"}
    assert [*(tmp_path / "out").iterdir()] == [tmp_path / "out" / "mine"]


@pytest.mark.parametrize(("call", "place"), [("mkdir", ""), ("open", ""), ("open", "copy.partial")])
@pytest.mark.parametrize("there", [False, True])
def test_an_output_that_is_closed_to_its_owner_leaves_no_empty_folder(client, model, tmp_path, monkeypatch, call, place, there):
    """As the umasks 0700 and 0500 have it; root may write anywhere, whatever the mode."""
    allowed = getattr(os, call)

    def refused(path, *arguments, **options):
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return allowed(path, *arguments, **options)

    out = tmp_path / "out"
    if there:
        out.mkdir()
    closed = str(out / PROGRESS / place) if place else out / PROGRESS
    monkeypatch.setattr(os, call, refused)
    with pytest.raises(OutputError, match="Permission denied"):
        client.compress(model, out, rule=TAIL).result()
    assert [path.name for path in tmp_path.rglob("*") if model not in (path, *path.parents)] == ["out"] * there


@pytest.mark.parametrize("place", ["cache/blobs/out", "cache/snapshots/mine/out", "cache/out"])
def test_an_output_lies_apart_from_the_blobs_of_a_cache_too(client, model, tmp_path, place):
    (tmp_path / "cache" / "snapshots").mkdir(parents=True)
    (tmp_path / "cache" / "blobs").mkdir()
    source = model.rename(tmp_path / "cache" / "snapshots" / "mine")
    if place == "cache/out":
        client.compress(source, tmp_path / place, rule=TAIL).result()
        assert (tmp_path / place / "config.json").exists()
    else:
        with pytest.raises(OutputError, match="lie one in the other"):
            client.compress(source, tmp_path / place, rule=TAIL).result()
        assert not (tmp_path / place).exists()


@pytest.mark.parametrize("place", ["model", "model/out", "."])
def test_source_and_output_lie_apart(client, model, tmp_path, place):
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="lie one in the other"):
        client.compress(model, tmp_path / place, rule=TAIL).result()
    assert tree(tmp_path) == before


def test_places_that_are_no_folder(client, model, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is no folder"):
        client.compress(model, tmp_path / "file", rule=TAIL).result()
    with pytest.raises(OutputError, match="No such file or directory"):
        client.compress(model, tmp_path / "no" / "out", rule=TAIL).result()
    with pytest.raises(OutputError, match="is a directory"):
        client.compress(model / shard_name(1, 3), tmp_path, rule=TAIL).result()


@pytest.mark.parametrize("name", ["out.safetensors", "out.PTH", "out.npz"])
def test_a_folder_does_not_become_one_that_is_named_like_a_file(client, model, tmp_path, name):
    with pytest.raises(InvalidOutput, match=f"{name} is named like a file, but .*model is a folder and comes back as one"):
        client.compress(model, tmp_path / name, rule=TAIL).result()
    with pytest.raises(InvalidOutput, match=f"{name} is named like a file"):
        pack(model, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (tmp_path / name).mkdir()
    client.compress(model, tmp_path / name, rule=TAIL).result()
    assert (tmp_path / name / INDEX).exists(), "who made it meant it"


def test_a_shard_that_changes_while_the_others_are_compressed_is_refused(client, model, tmp_path):
    with client.compress(model, tmp_path / "out", rule=TAIL) as run:
        next(run)
        shutil.copy(model / shard_name(3, 3), model / "copy")
        (model / "copy").rename(model / shard_name(3, 3))
        with pytest.raises(SourceError, match="changed while it was read"):
            run.result()
    assert not (tmp_path / "out" / INDEX).exists()


def test_a_chain_reads_back_what_it_sends(model, tmp_path):
    folder = open_folder(model)
    with ChainedCheckpoint([shard.path for shard in folder.shards], path=model) as chained:
        source = ChainedSource(folder.shards, name="model")
        data = b"".join(source.frames())
        assert (chained.header, chained.size_bytes) == (source.header.text, len(data))
        for tensor in chained.tensors:
            assert bytes(chained.read(tensor.begin, tensor.length_bytes)) == data[tensor.begin : tensor.end]
            assert b"".join(source.pieces(tensor)) == data[tensor.begin : tensor.end]


def test_numbers_that_json_does_not_know_are_refused_before_anything_is_written(client, model, tmp_path):
    with pytest.raises(TypeError, match="float32 is not JSON serializable"):
        client.compress(model, tmp_path / "out", rule=Tail(epsilon=np.float32(0.3), p=2)).result()
    assert not (tmp_path / "out").exists()


def test_warnings_of_single_shards_are_those_of_one_stream(client, tmp_path):
    """Word for word: shards are no reason to hear less, or something else."""
    model, plain = tmp_path / "model", np.ones((4, 8), np.float32)
    model.mkdir()
    eight = plain.astype(ml_dtypes.float8_e4m3fn)
    codes = {"qweight": np.ones((4, 8), np.int32), "scales": plain.astype(np.float16), "g_idx": np.zeros(32, np.int32)}
    gptq = [{f"{layer}.{name}": array for name, array in codes.items()} for layer in "gh"]
    shards = [
        {"a.weight": plain * np.nan, "b.weight": eight},
        {"c.weight": plain, "d.weight": eight, **gptq[0]},
        {"e.weight": plain, **gptq[1]},
        {"f.bias": plain[0]},
    ]
    weight_map = {name: shard_name(number, len(shards)) for number, shard in enumerate(shards, 1) for name in shard}
    for number, shard in enumerate(shards, 1):
        save_file(shard, model / shard_name(number, len(shards)))
    write_index(model, weight_map, {})
    options = {"nonfinite": "pass_through", "exclude": ["x*"]}
    one = client.analyze(model, **options).result()
    result = client.compress(model, tmp_path / "out", rule=TAIL, **options).result()
    assert result.warnings == one.warnings
    assert [one.code for one in result.warnings] == [
        "glob_without_match",
        "quantized_passed_through",
        "stored_values",
        "nonfinite_passed_through",
    ]
    assert result.warnings[1].text.startswith("2 quantised layers (")
