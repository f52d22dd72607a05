"""One threshold over shards that no server holds together: as one stream would have it, to the byte."""

from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.client.folders.models import shard_name, tree, write_index

from ellq.v1 import compression_pb2 as pb
from ellq_client import Client, ErrorBudget, Fraction, Override, PqIndex, ProtocolError, SparsityIndex, Tail, verify
from ellq_client.folders.finished import REPORT
from ellq_client.folders.folder import open_folder
from ellq_client.folders.pooled import goes_apart
from ellq_client.folders.sketches import for_shard, merged
from ellq_client.requests import Request
from ellq_server import __version__ as version
from ellq_server.embedded import EmbeddedServer
from ellq_server.limits import CALL_BYTES
from ellq_server.settings import Settings

SHARDS = 4
RULES = {
    "fraction": Fraction(pruned_ratio=0.54, scope="global"),
    "tail_l1": Tail(epsilon=0.2, p=1, scope="global"),
    "tail_l2": Tail(epsilon=0.3, p=2, scope="global"),
    "sparsity": SparsityIndex(q=0.5, eta=0.1, scope="global"),
    "pq": PqIndex(p=0.5, q=1, beta=0.8, scope="global"),
}
DTYPES = {"F32": [np.float32] * SHARDS, "mixed": [ml_dtypes.bfloat16, np.float32, np.float64, np.float16]}


@pytest.fixture(scope="module")
def small_address(tmp_path_factory) -> Iterator[str]:
    """Return where a server is that holds no more than some tensors at a time."""
    address = f"unix:{tmp_path_factory.mktemp('small') / 's'}"
    settings = {"listen": address, "metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
    server = EmbeddedServer(Settings.model_construct(**settings, memory_bytes=CALL_BYTES + 1_000_000, concurrent_calls=1))
    yield address
    server.stop()


def write_shards(root: Path, dtypes: list[type]) -> Path:
    """Write shards of which most magnitudes tie with those of others; the second has nothing but a bias to begin with."""
    random = np.random.default_rng(11)
    root.mkdir()
    weight_map = {}
    for number, dtype in enumerate(dtypes, start=1):
        weight = np.round(random.standard_t(3, size=(160, 128)) * 4) / 4
        weight[random.random(weight.shape) < 0.1] = 0
        tensors = {f"w{number}.weight": weight.astype(dtype), f"w{number}.bias": np.ones(160, np.float32)}
        name = shard_name(number, SHARDS + 1)
        save_file(tensors, root / name)
        weight_map |= dict.fromkeys(tensors, name)
    name = shard_name(SHARDS + 1, SHARDS + 1)  # none of its tensors is counted
    save_file({"embed.weight": np.ones((3, 3), np.float32)}, root / name)
    write_index(root, weight_map | {"embed.weight": name}, {})
    return root


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_the_bytes_are_those_of_one_stream(client, small_address, tmp_path, rule, dtypes):
    model = write_shards(tmp_path / "model", DTYPES[dtypes])
    one = client.compress(model, tmp_path / "one", rule=RULES[rule]).result()
    with Client(small_address, streams=1) as small:
        apart = small.compress(model, tmp_path / "apart", rule=RULES[rule]).result()
    expected, found = tree(tmp_path / "one"), tree(tmp_path / "apart")
    assert {**found, REPORT: b""} == {**expected, REPORT: b""}
    assert apart.tensors == one.tensors
    for field in ("tensors", "compressible_tensors", "weights", "zeros_before", "zeros_after", "kept", "warnings", "network"):
        assert getattr(apart.summary, field) == getattr(one.summary, field), field
    assert verify(model, tmp_path / "apart", tmp_path / "apart" / REPORT).report_checked
    assert 0 < one.summary.kept < one.summary.weights


def test_ties_at_the_threshold_lie_in_every_shard(client, tmp_path):
    """What the test above rests on: those of the first shard stay, those of the last go."""
    model = write_shards(tmp_path / "model", DTYPES["F32"])
    client.compress(model, tmp_path / "out", rule=RULES["fraction"]).result()
    stayed, gone = [], []
    for number in range(1, SHARDS + 1):
        name = shard_name(number, SHARDS + 1)
        before, after = (np.abs(load_file(root / name)[f"w{number}.weight"]) for root in (model, tmp_path / "out"))
        tied = before == 0.75
        stayed.append(int((tied & (after != 0)).sum()))
        gone.append(int((tied & (after == 0)).sum()))
    assert min(map(sum, zip(stayed, gone, strict=True))) > 500
    assert gone[0] == stayed[-1] == 0 < sum(stayed[1:])


def test_the_number_of_streams_changes_no_byte(small_address, tmp_path):
    """The server can hold one call at a time, so the others find it busy, and wait."""
    model = write_shards(tmp_path / "model", DTYPES["F32"])
    for streams in (1, 3):
        with Client(small_address, streams=streams) as small:
            small.compress(model, tmp_path / f"out{streams}", rule=RULES["fraction"]).result()
    assert tree(tmp_path / "out1") == tree(tmp_path / "out3")


def test_a_replica_that_knows_nothing_of_the_shards_before_is_refused(small_address, tmp_path, monkeypatch):
    """An older one would let every shard keep all ties, and say nothing."""
    monkeypatch.setattr("ellq_server.sketches.Sketch.total_before", 0)
    model = write_shards(tmp_path / "model", DTYPES["F32"])
    with Client(small_address, streams=1) as small, pytest.raises(ProtocolError, match="does not heed that") as caught:
        small.compress(model, tmp_path / "out", rule=RULES["fraction"]).result()
    assert f"a server of version {version}" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_shards_that_went_apart_may_be_packed(small_address, tmp_path):
    model = write_shards(tmp_path / "model", DTYPES["F32"])
    with Client(small_address, streams=1) as small:
        dense = small.compress(model, tmp_path / "dense", rule=RULES["fraction"]).result()
        packed = small.compress(model, tmp_path / "packed", rule=RULES["fraction"], encoding="packed").result()
    assert packed.tensors == dense.tensors
    assert verify(model, tmp_path / "packed", tmp_path / "packed" / REPORT).report_checked


def test_each_shard_goes_in_calls_of_its_own(small_address, tmp_path):
    model = write_shards(tmp_path / "model", DTYPES["F32"])
    seen = []
    with Client(small_address, streams=1) as client:
        opened = client._connection.open
        client._connection.open = lambda method, *rest, **options: (seen.append(method), opened(method, *rest, **options))[1]
        result = client.compress(model, tmp_path / "out", rule=RULES["tail_l2"]).result()
    shards = SHARDS + 1
    passes = ["Analyze"] * shards * 3  # the leading bits, the same with units, the next digit
    assert seen == ["Compress", *passes, *["Compress"] * shards]
    assert [part.shards for part in result.parts] == [tuple(shard_name(number, shards) for number in range(1, shards + 1))]


def test_what_needs_all_tensors_in_one_call_stays_in_one_stream(model):
    shards = open_folder(model).shards
    whole = Request(rule=RULES["fraction"])
    assert goes_apart(shards, whole)
    assert not goes_apart(shards[:1], whole)
    for name, value in {
        "rule": ErrorBudget(max_error=0.1),
        "network_sha256": "x",
        "moments_sha256": "x",
        "remove_dead_neurons": True,
        "overrides": [Override("w1*", rule=Tail(epsilon=0.1, p=2))],
    }.items():
        assert not goes_apart(shards, Request(**{"rule": RULES["fraction"], name: value})), name


def test_own_rules_beside_a_pool_that_is_too_large(client, small_address, tmp_path):
    model = write_shards(tmp_path / "model", DTYPES["F32"])
    options = {"rule": RULES["fraction"], "overrides": [Override("w2*", rule=Tail(epsilon=0.1, p=2))]}
    client.compress(model, tmp_path / "one", **options).result()
    with Client(small_address, streams=1) as small:
        small.compress(model, tmp_path / "apart", **options).result()
    assert tree(tmp_path / "apart") == tree(tmp_path / "one")
    verify(model, tmp_path / "apart", tmp_path / "apart" / REPORT)


def sketch(*, weights: list[int], digits: list[int], **others) -> pb.Sketch:
    zeros = others.pop("zeros", 0)
    return pb.Sketch(weights=sum(weights), zeros=zeros, max_magnitude=1, bins=pb.Bins(digits=digits, weights=weights), **others)


def test_sketches_add_up():
    sums = {"power_sums": [pb.PowerSum(order=1, sum=3.0)]}
    first = sketch(weights=[2, 3], digits=[1, 7], exponent=1, mantissa_bits=7, zeros=1, final=True, **sums)
    second = sketch(weights=[5], digits=[7], exponent=3, mantissa_bits=23, **sums)
    whole = merged([first, second], first_pass=True)
    assert (whole.weights, whole.zeros, whole.mantissa_bits, whole.final, whole.exponent) == (10, 1, 23, False, 3)
    assert whole.power_sums[0].sum == 3 / 4 + 3
    assert whole.bins == pb.Bins(digits=[1, 7], weights=[2, 8])
    assert list(for_shard(whole, [second]).bins.weights_before) == [0, 5]
    assert for_shard(whole, []) == whole


@pytest.mark.parametrize("total", [0, 127, 128, 255, 256, 300])
def test_later_sketches_add_up_their_units_alone(total):
    later = {"counts_units": True, "exponent": 1}
    least = (total // 3).to_bytes(1, "big") if total else b""
    first = sketch(weights=[2], digits=[4], unit_total=(total - total // 3).to_bytes(1, "big"), **later)
    second = sketch(weights=[2], digits=[3], unit_total=least, **later)
    first.bins.units.append(11)
    second.bins.units.append(10)
    whole = merged([first, second], first_pass=False)
    assert (whole.weights, int.from_bytes(whole.unit_total, "big")) == (2, total)
    assert not whole.unit_total.startswith(b"\0")
    assert whole.bins == pb.Bins(digits=[3, 4], weights=[2, 2], units=[10, 11])


@pytest.mark.parametrize("change", ["level", "options_sha256", "orders", "units", "lists"])
def test_sketches_that_do_not_belong_together_are_refused(change):
    sums = {"power_sums": [pb.PowerSum(order=1, sum=3.0)]}
    one, other = (sketch(weights=[2], digits=[4], **sums) for _ in range(2))
    if change == "orders":
        other.power_sums[0].order = 2
    elif change == "lists":
        other.bins.weights.append(3)
    elif change == "units":
        other.counts_units = True
        other.bins.units.append(3)
    else:
        setattr(other, change, {"level": 1, "options_sha256": b"x"}[change])
    with pytest.raises(ProtocolError, match=r"do not belong together|differ in length"):
        merged([one, other], first_pass=True)
