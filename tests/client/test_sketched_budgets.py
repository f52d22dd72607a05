"""Error budgets over checkpoints that the server cannot hold: the clients run the passes, and the report can be verified."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ellq.v1 import compression_pb2 as pb
from ellq_client import AsyncClient, ClaimRefuted, Client, ErrorBudget, InvalidSketch, SourceError, verify, write_report
from ellq_client.networks import (
    Add,
    BatchNorm,
    Calibration,
    Conv,
    GlobalMean,
    Input,
    Linear,
    Network,
    Node,
    Relu,
    TensorMoments,
    chain,
)
from ellq_client.references import RemoteSource
from ellq_client.reordering import LastLayerFirst
from ellq_client.sources import open_source
from ellq_server.embedded import EmbeddedServer
from ellq_server.limits import CALL_BYTES
from ellq_server.settings import Settings

RANDOM = np.random.default_rng(5)
INPUTS = RANDOM.uniform(-1, 1, (300, 12))
IMAGES = RANDOM.uniform(-1, 1, (40, 2, 5, 5))
PADDING = {f"counters{i}": np.zeros(6000, np.int64) for i in range(10)}

MLP = chain(Input(12), Linear("first.weight", "first.bias"), Relu(), Linear("second.weight"), Relu(), Linear("third.weight"))
CNN = Network(
    [
        Node("image", Input(2, 5, 5)),
        Node("conv1", Conv("conv1.weight", "conv1.bias", padding=1), "image"),
        Node(
            "norm",
            BatchNorm(mean="norm.mean", variance="norm.variance", weight="norm.weight", bias="norm.bias", epsilon=1e-5),
            "conv1",
        ),
        Node("relu", Relu(), "norm"),
        Node("conv2", Conv("conv2.weight", padding=1), "relu"),
        Node("sum", Add(), "relu", "conv2"),
        Node("mean", GlobalMean(), "sum"),
        Node("out", Linear("out.weight"), "mean"),
    ]
)


def mlp_weights():
    shapes = {"first.weight": (20, 12), "first.bias": (20,), "second.weight": (15, 20), "third.weight": (4, 15)}
    return {name: RANDOM.standard_t(4, shape).astype(np.float32) / 5 for name, shape in shapes.items()}


def cnn_weights():
    shapes = {"conv1.weight": (6, 2, 3, 3), "conv1.bias": (6,), "conv2.weight": (6, 6, 3, 3), "out.weight": (3, 6)}
    found = {name: RANDOM.normal(size=shape).astype(np.float32) / 3 for name, shape in shapes.items()}
    norm = {name: RANDOM.uniform(0.5, 1.5, 6).astype(np.float32) for name in ("mean", "variance", "weight", "bias")}
    return found | {f"norm.{name}": values for name, values in norm.items()}


def mlp(weights, x):
    """Return the outputs and what enters each layer, in float64."""
    weights = {name: values.astype(np.float64) for name, values in weights.items()}
    first = np.maximum(x @ weights["first.weight"].T + weights["first.bias"], 0)
    second = np.maximum(first @ weights["second.weight"].T, 0)
    return second @ weights["third.weight"].T, {"first.weight": x, "second.weight": first, "third.weight": second}


def patches(images):
    """Return what each position of a 3 x 3 convolution with padding 1 sees: (samples, height, width, channels * 9)."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(*windows.shape[:1], *windows.shape[2:4], -1)


def cnn(weights, images):
    weights = {name: values.astype(np.float64) for name, values in weights.items()}
    seen1 = patches(images)
    z = seen1 @ weights["conv1.weight"].reshape(6, -1).T + weights["conv1.bias"]
    z = (z - weights["norm.mean"]) / np.sqrt(weights["norm.variance"] + 1e-5) * weights["norm.weight"] + weights["norm.bias"]
    hidden = np.maximum(z, 0)
    seen2 = patches(hidden.transpose(0, 3, 1, 2))
    mean = (hidden + seen2 @ weights["conv2.weight"].reshape(6, -1).T).mean(axis=(1, 2))
    return mean @ weights["out.weight"].T, {"conv1.weight": seen1, "conv2.weight": seen2, "out.weight": mean}


def calibrated(entering):
    """Return the moments under the samples, with room for the rounding of their sums."""
    flat = {name: values.reshape(-1, values.shape[-1]) for name, values in entering.items()}
    return Calibration({name: TensorMoments((x**2).mean(axis=0) * (1 + 1e-9)) for name, x in flat.items()}, 300)


CASES = {"mlp": (MLP, mlp_weights(), mlp, INPUTS), "cnn": (CNN, cnn_weights(), cnn, IMAGES)}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return the address of a server that cannot hold the checkpoints of this module."""
    address = f"unix:{tmp_path_factory.mktemp('small') / 's'}"
    memory = {"memory_bytes": CALL_BYTES + 1_600_000}
    settings = {"listen": address, "metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
    server = EmbeddedServer(Settings.model_construct(**settings, **memory))
    yield address
    server.stop()


@pytest.fixture(scope="module")
def large():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ELLQ_SERVER", raising=False)
        with Client() as client:
            yield client


def checkpoint(tmp_path, name):
    path = tmp_path / f"{name}.safetensors"
    save_file(CASES[name][1] | PADDING, path, metadata={"made": "for a test"})
    return path


def asked(name, rule):
    network, weights, run, x = CASES[name]
    return {"network": network, "moments": calibrated(run(weights, x)[1]), "rule": rule}


@pytest.mark.parametrize("rule", [ErrorBudget(max_error=0.2), ErrorBudget(pruned_ratio=0.4)], ids=["error", "share"])
@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_too_large_to_hold_is_cut_as_one_that_fits(small, large, tmp_path, name, rule):
    path, options = checkpoint(tmp_path, name), asked(name, rule)
    with Client(small) as client:
        found = client.compress(path, tmp_path / "passes.safetensors", **options).result()
    held = large.compress(path, tmp_path / "held.safetensors", **options).result()
    assert found.summary.network.absence == "too_large"
    assert held.summary.network.absence is None
    assert (tmp_path / "passes.safetensors").read_bytes() == (tmp_path / "held.safetensors").read_bytes()
    spent = found.summary.network.budget
    assert spent.cost == spent.certified_error == held.summary.network.budget.cost
    _, weights, run, x = CASES[name]
    moved = run(weights, x)[0] - run(load_file(tmp_path / "passes.safetensors"), x)[0]
    assert 0 < np.sqrt((moved**2).mean(axis=0)).max() <= spent.cost
    if rule.max_error is not None:
        assert spent.unused == rule.max_error - spent.cost >= 0


@pytest.mark.parametrize("name", CASES)
def test_the_async_client_runs_the_passes_too(small, tmp_path, name):
    path, options = checkpoint(tmp_path, name), asked(name, ErrorBudget(max_error=0.2))

    async def compress():
        async with AsyncClient(small) as client:
            return await client.compress(path, tmp_path / "async.safetensors", **options).result()

    found = asyncio.run(compress())
    with Client(small) as client:
        arrays = client.compress(CASES[name][1] | PADDING, **options).result().weights
    for tensor, values in load_file(tmp_path / "async.safetensors").items():
        np.testing.assert_array_equal(arrays[tensor], values)
    assert found.summary.network.budget.unused >= 0


@pytest.mark.parametrize(
    "rule", [ErrorBudget(max_error=0.2, grade="box"), ErrorBudget(max_error=0.2, measured=True)], ids=["box", "measured"]
)
def test_budgets_that_no_sketch_carries_are_refused(small, tmp_path, rule):
    options = asked("mlp", rule) | {"network": MLP.with_inputs(box=(-1, 1))}
    with Client(small) as client, pytest.raises(InvalidSketch, match="cannot be had here"):
        client.compress(checkpoint(tmp_path, "mlp"), tmp_path / "out.safetensors", **options).result()
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", CASES)
def test_what_the_passes_spent_is_verified_from_weights_network_and_moments(small, tmp_path, name):
    path, options = checkpoint(tmp_path, name), asked(name, ErrorBudget(max_error=0.2))
    with Client(small) as client:
        found = client.compress(path, tmp_path / "out.safetensors", **options).result()
    write_report(found, tmp_path / "report.json")
    given = {"network": options["network"], "moments": options["moments"]}
    assert not verify(path, tmp_path / "out.safetensors", tmp_path / "report.json", **given).unchecked
    blind = verify(path, tmp_path / "out.safetensors", tmp_path / "report.json")
    assert any("cost" in phrase for phrase in blind.unchecked)
    report = json.loads((tmp_path / "report.json").read_text())
    report["summary"]["network"]["budget"]["cost"] /= 2
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(ClaimRefuted, match="cost"):
        verify(path, tmp_path / "out.safetensors", tmp_path / "report.json", **given)


def test_what_was_spent_is_told_with_what_it_rests_on(small, tmp_path):
    with Client(small) as client:
        found = client.compress(checkpoint(tmp_path, "mlp"), **asked("mlp", ErrorBudget(max_error=0.2))).result()
    told = found.summary.network.told()
    assert told[0].startswith("Of an error of 0.2")
    assert "sketches" in told[1]
    assert "larger than this server holds" in told[1]
    assert replace(found.summary.network, budget=None).told()[0].startswith("No statement")


@pytest.mark.parametrize("in_memory", [False, True])
def test_the_last_layer_first_is_the_same_checkpoint_in_another_order(tmp_path, in_memory):
    path = checkpoint(tmp_path, "cnn")
    source = LastLayerFirst(open_source(load_file(path) if in_memory else path), CNN.to_proto().topology)
    data = b"".join(bytes(piece) for piece in source.frames())
    assert len(data) == source.size_bytes
    (tmp_path / "again.safetensors").write_bytes(data)
    with safe_open(tmp_path / "again.safetensors", "np") as again, safe_open(path, "np") as original:
        assert in_memory or again.metadata() == original.metadata()
        assert set(again.keys()) == set(original.keys())
        for name in original.keys():  # noqa: SIM118  # a file is no mapping
            np.testing.assert_array_equal(again.get_tensor(name), original.get_tensor(name))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header.pop("__metadata__", None)
    order = sorted(header, key=lambda name: header[name]["data_offsets"])
    assert order[-3:] == ["out.weight", "conv2.weight", "conv1.weight"]


def test_weights_that_the_server_alone_reads_have_no_other_order():
    source = RemoteSource("s3://models/cnn.safetensors", pb.Manifest(header_bytes=10, header_sha256=bytes(32)), ())
    with pytest.raises(SourceError, match="read by the server alone"):
        LastLayerFirst(source, CNN.to_proto().topology)
