"""Counts in tables and sentences, which are written one way."""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ellq_client.counting import counted, counted_of
from ellq_client.networks import Input, Linear, Relu, chain


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 neurons"), (1, "1 neuron"), (2, "2 neurons"), (999, "999 neurons"), (1234567, "1 234 567 neurons")],
)
def test_one_is_not_counted_as_many(count, told):
    assert counted(count, "neuron") == told


def test_the_whole_says_what_is_counted():
    assert counted_of(1, 1, "tensor") == "1 of 1 tensor"
    assert counted_of(1000, 2000, "tensor") == "1 000 of 2 000 tensors"


def test_every_command_writes_large_numbers_in_the_same_groups(ellq, tmp_path):
    original, same, pruned = (tmp_path / f"{name}.safetensors" for name in ("original", "same", "pruned"))
    dead_first = np.concatenate([np.zeros((1, 60), np.float32), np.ones((59, 60), np.float32)])
    save_file({"a.weight": dead_first, "b.weight": np.ones((1, 60), np.float32)}, original)
    chain(Input(60), Linear("a.weight"), Relu(), Linear("b.weight")).save(tmp_path / "net.json")
    weights = load_file(original)
    weights["a.weight"][1:40] = 0
    save_file(weights, pruned)
    for command, number in (
        (["analyze", original], "3 660 weights"),
        (
            ["compress", original, "-o", same, "--rule", "sparsity-index"],
            f"14 {original.stat().st_size - 14000} bytes as before",
        ),
        (["verify", original, pruned], "zeros in place of 2 340 weights"),
        (["pack", original, "-o", tmp_path / "packed.safetensors"], f"14 {original.stat().st_size - 14000} bytes packed"),
        (["shrink", pruned, "-o", tmp_path / "less.safetensors", "--network", tmp_path / "net.json"], "14 640 before"),
    ):
        code, out, err = ellq(*command)
        assert code == 0, err
        assert number in out
        assert not re.search(r"(?<![\w.])\d{4}", out.replace(str(tmp_path), "")), "digits in no groups"
