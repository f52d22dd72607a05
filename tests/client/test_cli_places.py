"""Where the command line reads and writes: checked before any work, and nothing replaced unasked."""

import json
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ellq_client import pack, partial_file
from ellq_client.cli import exits
from ellq_client.networks import Input, Linear, chain


def test_a_folder_does_not_become_one_that_is_named_like_a_file(ellq, fake, checkpoint, tmp_path):
    for name in ("a.safetensors", "a.pth"):
        code, _, err = ellq("compress", checkpoint.parent, "-o", tmp_path / "out" / name, "--rule", "n-of-m")
        assert (code, "is named like a file, but" in err) == (exits.USAGE, True)
    assert fake.requests == []


def test_an_output_of_a_wrong_format_is_an_error_of_the_command_line(ellq, fake, tmp_path):
    np.savez(tmp_path / "m.npz", w=np.ones((2, 2), np.float32))
    code, _, err = ellq("compress", tmp_path / "m.npz", "-o", tmp_path / "m.onnx", "--rule", "n-of-m")
    assert (code, "comes back as .npz, .safetensors, not as .onnx" in err) == (exits.USAGE, True), err


def test_a_file_cannot_be_held_against_a_folder(ellq, checkpoint):
    for pair in ((checkpoint, checkpoint.parent), (checkpoint.parent, checkpoint)):
        code, _, err = ellq("verify", *pair)
        assert (code, f"{checkpoint.parent} is a folder, {checkpoint} is a file" in err) == (exits.LOCAL_FILE, True), err
    assert ellq("verify", checkpoint, checkpoint)[1].startswith(
        "holds: 3 tensors; as safetensors, both have the same header and the same length\nholds: 0 tensors differ"
    )


def test_an_existing_output_is_only_replaced_by_force(ellq, checkpoint, tmp_path):
    output = tmp_path / "small.safetensors"
    output.write_text("older")
    words = ("compress", checkpoint, "-o", output, "--rule", "n-of-m")
    code, _, err = ellq(*words)
    assert (code, "--force" in err, output.read_text()) == (exits.USAGE, True, "older")
    assert ellq(*words, "--force")[0] == 0
    assert output.read_bytes() == checkpoint.read_bytes()


def test_the_report_goes_where_it_is_sent(ellq, checkpoint, tmp_path):
    assert ellq("analyze", checkpoint, "--quiet", "--json", tmp_path / "report.json") == (0, "", "")
    code, out, err = ellq("analyze", checkpoint, "--json", "-")
    assert code == 0
    assert json.loads(out)["schema"] == json.loads((tmp_path / "report.json").read_text())["schema"] == "ellq.report/2"
    assert "layer.weight" in err, "the table makes room on standard error"


def test_the_report_never_takes_the_place_of_weights(ellq, fake, checkpoint, tmp_path):
    link, output = tmp_path / "link.json", tmp_path / "small.safetensors"
    link.symlink_to(checkpoint)
    compress = ("compress", checkpoint, "-o", output, "--rule", "n-of-m", "--force")
    before = checkpoint.read_bytes()
    for words, told in [
        (("analyze", checkpoint, "--force", "--json", checkpoint), "is the source itself"),
        (("analyze", checkpoint, "--force", "--json", link), "is the source itself"),
        ((*compress, "--json", checkpoint), "is the source itself"),
        ((*compress, "--json", tmp_path / "." / "small.safetensors"), "is the output, too"),
    ]:
        code, _, err = ellq(*words)
        assert (code, told in err) == (exits.USAGE, True), err
    assert checkpoint.read_bytes() == before
    assert not output.exists()
    assert fake.requests == []


def test_what_was_verified_goes_where_it_is_sent(ellq, checkpoint, tmp_path):
    told = {
        "schema": "ellq.verification/1",
        "tensors": 3,
        "changed_tensors": 0,
        "weights_cut": 0,
        "report_checked": False,
        "refitted_tensors": 0,
        "unchecked": [],
    }
    assert ellq("verify", checkpoint, checkpoint, "--quiet", "--json", tmp_path / "told.json") == (0, "", "")
    assert json.loads((tmp_path / "told.json").read_text()) == told
    code, out, err = ellq("verify", checkpoint, checkpoint, "--json", "-")
    assert (code, json.loads(out)) == (0, told)
    assert err.startswith("holds: 3 tensors")


def test_what_was_verified_takes_the_place_of_nothing_else(ellq, checkpoint, tmp_path):
    small, report = tmp_path / "small.safetensors", tmp_path / "report.json"
    assert ellq("compress", checkpoint, "-o", small, "--rule", "n-of-m", "--json", report)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for place, told in ((checkpoint, "is the original"), (small, "is the compressed file"), (report, "is the report itself")):
        code, _, err = ellq("verify", checkpoint, small, "--report", report, "--force", "--json", place)
        assert (code, told in err) == (exits.USAGE, True), err
    code, _, err = ellq("verify", checkpoint, small, "--json", report)
    assert (code, "--force replaces it" in err) == (exits.USAGE, True), err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_place_of_the_report_is_checked_before_any_work(ellq, fake, checkpoint, tmp_path):
    older = tmp_path / "older.json"
    older.write_text("older")
    for place, told, expected in [
        (older, "--force replaces it", exits.USAGE),
        (tmp_path / "no" / "r.json", "No such file", exits.LOCAL_FILE),
        (tmp_path, "a directory", exits.USAGE),
    ]:
        for words in [("analyze", checkpoint), ("compress", checkpoint, "-o", tmp_path / "o.safetensors", "--rule", "n-of-m")]:
            code, _, err = ellq(*words, "--json", place)
            assert (code, told in err) == (expected, True), err
    assert older.read_text() == "older"
    assert fake.requests == []
    assert ellq("analyze", checkpoint, "--json", older, "--force")[0] == 0
    assert json.loads(older.read_text())["method"] == "analyze"


def test_a_folder_that_cannot_be_written_is_told_before_any_work(ellq, fake, checkpoint, tmp_path, monkeypatch):
    folder = tmp_path / "locked"
    folder.mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: path != folder)  # root may write anywhere, whatever the mode
    code, _, err = ellq("analyze", checkpoint, "--json", folder / "r.json")
    assert (code, "Permission denied" in err, fake.requests) == (exits.LOCAL_FILE, True, [])


def test_files_that_are_not_there(ellq, tmp_path):
    assert ellq("analyze", tmp_path / "none.safetensors")[0] == exits.LOCAL_FILE
    assert ellq("analyze", tmp_path)[0] == exits.LOCAL_FILE
    assert ellq("verify", tmp_path / "a", tmp_path / "b")[0] == exits.LOCAL_FILE


def test_what_all_processes_share_is_not_replaced(ellq, fake, checkpoint, tmp_path, monkeypatch):
    """As /dev/stdout would be, which leads to an ordinary file where that is one."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "link").symlink_to(shared)
    (shared / "stdout").symlink_to(checkpoint)
    monkeypatch.setattr(partial_file, "DEVICES", str(shared))
    for place in (shared / "stdout", tmp_path / "link" / "stdout"):
        code, _, err = ellq("compress", checkpoint, "-o", place, "--rule", "n-of-m", "--force")
        assert (code, "is no ordinary file" in err) == (exits.LOCAL_FILE, True), err
    assert (shared / "stdout").is_symlink()
    assert fake.requests == []


@pytest.mark.parametrize(
    "command",
    [
        "compress model.safetensors -o out.safetensors --rule n-of-m",
        "compress model.safetensors -o out.safetensors --rule n-of-m --encoding packed",
        "compress model.npz -o out.npz --rule n-of-m",
        "analyze model.safetensors --json out.json",
        "verify model.safetensors model.safetensors --json out.json",
        "pack model.safetensors -o out.safetensors",
        "unpack packed.safetensors -o out.safetensors",
        "network model.onnx -o out.json",
        "shrink model.safetensors -o out.safetensors --network net.json",
        "shrink model.safetensors -o a.safetensors --network net.json",
    ],
)
def test_what_came_meanwhile_is_replaced_by_force_alone(ellq, checkpoint, tmp_path, monkeypatch, command):
    """It comes when the unfinished file is made: after every check, and before anything is finished."""
    np.savez(tmp_path / "model.npz", w=np.ones((2, 2), np.float32))
    chain(Input(4), Linear("layer.weight")).save(tmp_path / "net.json")
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])), tmp_path / "model.onnx")
    pack(checkpoint, tmp_path / "packed.safetensors")
    theirs = tmp_path / ("a.network.json" if "a.safetensors" in command else re.search(r"out\.\w+", command)[0])
    create_file = partial_file.create_file

    def create(place, permissions):
        if place.name.startswith(f".{theirs.name}."):
            theirs.write_text("theirs")
        return create_file(place, permissions)

    monkeypatch.setattr(partial_file, "create_file", create)
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.iterdir()}
    code, _, err = ellq(*command.split())
    assert (code, f"{theirs.name} exists by now" in err) == (exits.USAGE, True), err
    assert theirs.read_text() == "theirs"
    assert {*tmp_path.iterdir()} == {*before, theirs}, "nothing of ours is left"
    assert ellq(*command.split(), "--force")[0] == 0
    assert theirs.read_bytes() != b"theirs"
