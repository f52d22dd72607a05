"""What the command line shows of a run, as a person sees it."""

import json
import os
import subprocess
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.client.conftest import COMMAND

from ellq_client.cli import exits
from ellq_client.cli.progress import follow, work_on
from ellq_client.cli.wording import shortened


def test_analyze_shows_every_measured_tensor_and_why_others_are_not(ellq, checkpoint):
    code, out, err = ellq("analyze", checkpoint)
    assert code == 0
    header, row, _, untouched, why, *_ = out.splitlines()
    assert header.split() == ["tensor", "shape", "dtype", "SI_0.5", "PQI_0.5,1"]
    assert row.split() == ["layer.weight", "5x4", "F32", "1.250", "0.2500"]
    assert untouched == "untouched  2 of 3 tensors"
    assert why.split() == ["2:", "fewer", "than", "two", "dimensions:", "steps,", "layer.bias"]
    assert "warning: x* matches no tensor" in out
    assert "promises" not in out, "no rule, no talk of one"
    assert err == "", "so small a file needs no progress"


def test_compress_writes_the_file_and_says_what_is_not_promised(ellq, checkpoint, tmp_path):
    output = tmp_path / "small.safetensors"
    code, out, _ = ellq("compress", checkpoint, "-o", output, "--rule", "sparsity-index")
    assert code == 0
    assert output.read_bytes() == checkpoint.read_bytes()
    assert "the rule promises nothing about the error" in out
    assert "cut weights are stored as zeros" in out
    assert "network    No statement about the whole network" in out


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_the_size_is_as_before_only_in_the_same_format(ellq, tmp_path, suffix):
    arrays = {"w": np.ones((4, 4), np.float32)}
    source = tmp_path / f"m.{suffix}"
    save_file(arrays, source) if suffix == "safetensors" else np.savez(source, **arrays)
    output = tmp_path / "small.safetensors"
    code, out, err = ellq("compress", source, "-o", output, "--rule", "sparsity-index")
    assert code == 0, err
    assert f"{output.stat().st_size} bytes{' as before' if suffix == 'safetensors' else ''}: cut" in out


def test_names_cannot_command_the_terminal(ellq, tmp_path, monkeypatch):
    monkeypatch.setattr("ellq_client.cli.progress._WORTH_LINES_BYTES", 0)
    path = tmp_path / "model.safetensors"
    save_file({"\x1b[31mred\r\u202e": np.ones((2, 3), np.float32)}, path)
    code, out, err = ellq("analyze", path, "--json", tmp_path / "report.json")
    assert code == 0
    for text in (out, err):
        assert r"\x1b[31mred\r\u202e" in text
        assert not {"\x1b", "\r", "\u202e"} & set(text)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tensors"][0]["name"] == "\x1b[31mred\r\u202e"
    code, _, err = ellq("verify", path, tmp_path / "\x1b[2J")
    assert (code, r"\x1b[2J" in err, "\x1b" in err) == (exits.LOCAL_FILE, True, False)


def test_large_files_tell_their_progress_in_lines(ellq, checkpoint, monkeypatch):
    monkeypatch.setattr("ellq_client.cli.progress._WORTH_LINES_BYTES", 0)
    _, _, err = ellq("analyze", checkpoint)
    assert err.count("ellq: model.safetensors: ") > 0
    assert ellq("analyze", checkpoint, "--quiet")[2] == ""


def test_a_file_of_nothing_compressible_gets_no_promise(ellq, tmp_path, monkeypatch):
    monkeypatch.delenv("ELLQ_SERVER")
    source = tmp_path / "m.safetensors"
    for name, remedy in [("norm.weight", False), ("embed.weight", True)]:
        save_file({name: np.ones((2, 2) if remedy else 2, np.float32)}, source)
        output = tmp_path / f"{name}.safetensors"
        code, out, err = ellq("compress", source, "-o", output, "--rule", "tail", "--epsilon", "0.1")
        assert code == 0, err
        assert "measured   0 of 1 tensor, 0 weights: nothing is compressible; `untouched` tells why" in out
        assert "as before: nothing was cut, all is as in the source" in out
        assert "Guaranteed" not in out
        told = "warning: no tensor is compressible; `untouched` tells why"
        assert f"{told}{', and --include takes in what is left alone for its name' if remedy else ''}\n" in out


def test_long_names_give_way_in_their_middle():
    assert shortened("encoder.layer.10.weight", 12) == "encod…weight"
    assert shortened("encoder", 12) == "encoder"


@pytest.mark.parametrize("compiles", [True, False])
def test_a_start_that_takes_long_is_explained_where_kernels_are_compiled(checkpoint, monkeypatch, capsys, compiles):
    monkeypatch.setattr("ellq_client.cli.progress._PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr("ellq_client.cli.progress.compiles_first", lambda: compiles)

    def slow():
        time.sleep(0.3)
        yield from ()

    for embedded, quiet, told in [(True, False, True), (True, True, False), (False, False, False)]:
        follow(slow(), work_on(checkpoint), embedded=embedded, quiet=quiet)
        assert ("compiles its kernels" in capsys.readouterr().err) is (told and compiles)


def test_capabilities_are_lines(ellq):
    code, out, _ = ellq("capabilities")
    assert code == 0
    assert "server.limits.header_bytes: 100\n" in out
    assert "server.scopes: neuron, layer\n" in out
    assert "server.encodings: dense (packed is made by the client" in out


def test_compress_and_verify_with_the_server_inside(tmp_path):
    original, output, report = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "r.json"))
    save_file({"[a].weight": np.random.default_rng(1).normal(size=(20, 30)).astype(np.float32)}, original)
    environment = {name: value for name, value in os.environ.items() if name != "ELLQ_SERVER"}

    def ellq(*words):
        return subprocess.run([*COMMAND, *map(str, words)], env=environment, capture_output=True, text=True, check=False)

    compressed = ellq("compress", original, "-o", output, "--json", report, "--rule", "sparsity-index", "--q", "0.5")
    assert compressed.returncode == 0, compressed.stderr
    assert "[a].weight" in compressed.stdout, "brackets are no markup"
    verified = ellq("verify", original, output, "--report", report)
    assert (verified.returncode, "every claim" in verified.stdout) == (0, True), verified.stderr
    weights = load_file(output)
    weights["[a].weight"][np.nonzero(weights["[a].weight"])] *= 1.5
    save_file(weights, output)
    refuted = ellq("verify", original, output, "--report", report)
    assert refuted.returncode == exits.DEFECT
    assert "tensor '[a].weight'" in refuted.stderr
