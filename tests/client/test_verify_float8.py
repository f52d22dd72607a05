"""Weights of 8 bits are verified at their real values, from the two files alone, and what they rest on must be untouched."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ellq_client import (
    ClaimRefuted,
    Fraction,
    LqBound,
    NOfM,
    Override,
    PqIndex,
    SparsityIndex,
    Tail,
    verify,
    write_report,
)
from ellq_client.networks import Calibration, TensorMoments

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def drawn(*shape: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 20).to(dtype)


def spread(*shape: int, seed: int) -> torch.Tensor:
    return torch.exp2(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3)


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with every layout and dtype of scales, one layer without, quantised ones, and ordinary ones."""
    zeros = drawn(12, 40, dtype=E4M3, seed=1)
    zeros[0], zeros[1, :5] = 0.0, -0.0
    weights = {
        "row.weight": zeros,
        "row.weight_scale": spread(12, 1, seed=2),
        "list.weight": drawn(6, 8, dtype=E5M2, seed=3),
        "list.weight_scale": spread(6, seed=4).bfloat16(),
        "one.weight": drawn(9, 5, dtype=E4M3, seed=5),
        "one.scale_weight": torch.tensor(0.0078125 * 1.1),
        "blocks.weight": drawn(130, 260, dtype=E4M3, seed=6),
        "blocks.weight_scale_inv": spread(2, 3, seed=7),
        "powers.weight": drawn(129, 140, dtype=E4M3, seed=8),
        "powers.scale": torch.tensor([[120, 130], [127, 125]], dtype=torch.uint8).view(torch.float8_e8m0fnu),
        "experts.down_proj": drawn(3, 6, 7, dtype=E5M2, seed=9),
        "experts.down_proj_scale": spread(3, 1, 7, seed=10),
        "alone.weight": drawn(4, 4, dtype=E4M3, seed=11),
        "packed.qweight": torch.arange(32, dtype=torch.int32).reshape(4, 8),
        "packed.qzeros": torch.arange(2, dtype=torch.int32).reshape(2, 1),
        "packed.scales": spread(2, 8, seed=12).half(),
        "plain.weight": torch.randn(8, 16, generator=torch.Generator().manual_seed(13)) * 10,
    }
    path = tmp_path_factory.mktemp("scaled") / "model.safetensors"
    save_file(weights, path)
    return path


STACKED = [Override("experts*", neuron_axis=(0, 2))]
REQUESTS = {
    "sparsity_index": {"rule": SparsityIndex(q=0.5), "overrides": STACKED},
    "pq_index over all": {"rule": PqIndex(p=1, q=2, scope="global")},
    "tail by neuron": {"rule": Tail(epsilon=0.3, p=2), "overrides": [Override("row*", neuron_axis=(1,))]},
    "tail by layer": {"rule": Tail(epsilon=0.3, p=1, scope="layer")},
    "tail over all": {"rule": Tail(epsilon=0.3, p=2, scope="global"), "overrides": STACKED},
    "lq_bound": {"rule": LqBound(epsilon=0.5, q=0.5, p=1)},
    "fraction over all": {"rule": Fraction(pruned_ratio=0.5, scope="global")},
    "n_of_m": {"rule": NOfM(n=2, m=4)},
    "everything asked for": {
        "rule": Fraction(pruned_ratio=0.3),
        "include": ["*"],
        "overrides": [Override("*", rule=NOfM(n=1, m=2))],
    },
}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_what_the_server_says_is_true(verified, scaled, request_name):
    result = verified(scaled, neurons=True, **REQUESTS[request_name])
    reasons = {tensor.name: tensor.reason for tensor in result.tensors if tensor.reason}
    assert set(reasons.values()) == {"quantized", "scale", "scale_unusable"}
    assert reasons["alone.weight"] == "scale_unusable"


def test_without_scales_stored_values_are_verified_and_the_report_says_so(client, tmp_path):
    path, output, report = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "r.json"))
    save_file({"a.weight": drawn(20, 30, dtype=E5M2, seed=1), "b.weight": drawn(20, 30, dtype=E4M3, seed=2)}, path)
    write_report(client.compress(path, output, rule=Tail(epsilon=0.3, p=2)).result(), report)
    verify(path, output, report)
    plain = json.loads(report.read_text())
    assert [one["code"] for one in plain["summary"]["warnings"]] == ["stored_values"]
    plain["summary"]["warnings"] = []
    report.write_text(json.dumps(plain))
    with pytest.raises(ClaimRefuted, match="8 bits and no scale"):
        verify(path, output, report)


def test_moments_are_verified_on_real_values(client, scaled, tmp_path):
    output, report = tmp_path / "small.safetensors", tmp_path / "report.json"
    known = {"row.weight": TensorMoments(np.linspace(0.1, 9, 40)), "experts.down_proj": TensorMoments(np.ones(42))}
    moments = Calibration(known, samples=1)
    result = client.compress(scaled, output, rule=Fraction(pruned_ratio=0.5), moments=moments).result()
    write_report(result, report)
    assert not verify(scaled, output, report, moments=moments).unchecked
    assert verify(scaled, output, report).unchecked


@pytest.fixture(scope="module")
def compressed(client, scaled, tmp_path_factory):
    place = tmp_path_factory.mktemp("compressed")
    result = client.compress(scaled, place / "small.safetensors", rule=Tail(epsilon=0.3, p=2)).result()
    write_report(result, place / "report.json")
    return place / "small.safetensors", place / "report.json"


def span_of(path: Path, name: str) -> slice:
    data = path.read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    begin, end = json.loads(data[8:length])[name]["data_offsets"]
    return slice(length + begin, length + end)


@pytest.mark.parametrize(
    "name",
    ["row.weight", "blocks.weight", "row.weight_scale", "packed.scales", "packed.qweight", "alone.weight", "powers.scale"],
)
def test_one_flipped_bit_is_found(scaled, compressed, tmp_path, name):
    data = bytearray(compressed[0].read_bytes())
    span = span_of(compressed[0], name)
    place = span.start + int(np.flatnonzero(np.frombuffer(data[span], np.uint8))[0])
    data[place] ^= 1
    flipped = tmp_path / "flipped.safetensors"
    flipped.write_bytes(data)
    for report in (None, compressed[1]):
        with pytest.raises(ClaimRefuted, match=f"tensor '{name}'"):
            verify(scaled, flipped, report)


@pytest.mark.parametrize("name", ["row.weight_scale", "packed.scales", "alone.weight"])
def test_zeros_are_no_cut_in_what_must_be_untouched(scaled, compressed, tmp_path, name):
    data = bytearray(compressed[0].read_bytes())
    data[span_of(compressed[0], name)] = bytes(len(data[span_of(compressed[0], name)]))
    zeroed = tmp_path / "zeroed.safetensors"
    zeroed.write_bytes(data)
    with pytest.raises(ClaimRefuted, match=f"tensor '{name}': bytes"):
        verify(scaled, zeroed)


def test_a_certificate_of_stored_values_is_refuted(client, scaled, compressed, tmp_path):
    """The cut of one.weight, by the same rule, as if there were no scale: 100 times as large, or a hundredth."""
    plain = json.loads(compressed[1].read_text())
    bare, output = tmp_path / "bare.safetensors", tmp_path / "cut.safetensors"
    save_file({"one.weight": load_file(scaled)["one.weight"]}, bare)
    stored = client.compress(bare, output, rule=Tail(epsilon=0.3, p=2)).result()["one.weight"].certificate
    told = next(tensor for tensor in plain["tensors"] if tensor["name"] == "one.weight")
    assert told["certificate"]["frobenius"] < stored.frobenius / 100
    told["certificate"]["frobenius"] = stored.frobenius
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(plain))
    with pytest.raises(ClaimRefuted, match=r"tensor 'one.weight': certificate\.frobenius"):
        verify(scaled, compressed[0], forged)


def test_arrays_of_8_bits_come_back_as_they_were_sent(client):
    weights = {"a.weight_scale": np.float32([[2], [4]]), "a.weight": np.array([[1, 2], [4, 8]], ml_dtypes.float8_e4m3fn)}
    found = client.compress(weights, rule=Fraction(pruned_ratio=0.5)).result()
    assert found.weights["a.weight"].dtype == ml_dtypes.float8_e4m3fn
    assert found.weights["a.weight"].astype(float).tolist() == [[0, 2], [0, 8]]
    assert found["a.weight"].measurement.max_magnitude == 32
