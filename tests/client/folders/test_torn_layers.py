"""A shard that ends within a layer: neither scales nor weights are taken for what they are not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.client.folders.models import shard_name, write_index

from ellq_client import Client, Fraction, verify

PLAIN = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
EIGHT = (torch.randn(6, 8, generator=torch.Generator().manual_seed(1)) * 9).to(torch.float8_e4m3fn)
SCALES = torch.rand(6, 8, generator=torch.Generator().manual_seed(2)) + 0.5

TORN = {
    "weights, then a scale of each": ({"experts.up_proj": EIGHT}, {"experts.up_proj_scale": SCALES}),
    "a scale of each, then weights": ({"experts.up_proj_scale": SCALES}, {"experts.up_proj": EIGHT}),
    "weights, then the scale of their layer": ({"x.weight": EIGHT}, {"x.scale": SCALES}),
    "codes, then scales": (
        {"x.qweight": torch.ones(4, 8, dtype=torch.int32)},
        {"x.scales": SCALES.half(), "x.g_idx": torch.arange(6, dtype=torch.int32)},
    ),
}


def write_torn(root: Path, *shards: dict[str, torch.Tensor]) -> Path:
    root.mkdir()
    files = {shard_name(number, len(shards)): shard for number, shard in enumerate(shards, 1)}
    for number, (file, shard) in enumerate(files.items()):
        save_file(shard | {f"plain{number}.weight": PLAIN}, root / file)
    weight_map = {name: file for file, shard in files.items() for name in shard}
    weight_map |= {f"plain{number}.weight": file for number, file in enumerate(files)}
    total = sum(one.nbytes for shard in shards for one in shard.values()) + PLAIN.nbytes * len(shards)
    write_index(root, weight_map, {"total_size": total})
    return root


def bytes_of(folder: Path, file: str, name: str) -> np.ndarray:
    with safe_open(folder / file, "pt") as opened:
        return opened.get_tensor(name).contiguous().view(torch.uint8).numpy()


@pytest.mark.parametrize("scope", ["neuron", "global"])
@pytest.mark.parametrize("case", TORN)
def test_what_a_shard_tears_apart_stays_as_it_is(client: Client, tmp_path: Path, case: str, scope: str) -> None:
    first, second = TORN[case]
    model, output = write_torn(tmp_path / "model", first, second), tmp_path / "small"
    result = client.compress(model, output, rule=Fraction(pruned_ratio=0.5, scope=scope)).result()
    for file, shard in ((shard_name(1, 2), first), (shard_name(2, 2), second)):
        for name in shard:
            np.testing.assert_array_equal(bytes_of(output, file, name), bytes_of(model, file, name))
            assert result[name].treatment == "pass_through"
    assert {result[f"plain{number}.weight"].treatment for number in (0, 1)} == {"compress"}
    left = {name for shard in (first, second) for name in shard if result[name].reason == "excluded"}
    assert {warning.subject for warning in result.summary.warnings if warning.code == "torn_layer"} == left
    assert left or scope == "global"
    assert verify(model, output, output / "ellq-report.json").report_checked


def test_layers_that_are_whole_in_their_shard_are_compressed(client: Client, tmp_path: Path) -> None:
    layers = ({f"{layer}.weight": EIGHT, f"{layer}.weight_scale": SCALES[:, :1].contiguous()} for layer in "ab")
    output = tmp_path / "small"
    result = client.compress(write_torn(tmp_path / "model", *layers), output, rule=Fraction(pruned_ratio=0.5)).result()
    assert {result[f"{layer}.weight"].treatment for layer in "ab"} == {"compress"}
    assert verify(tmp_path / "model", output, output / "ellq-report.json").report_checked
