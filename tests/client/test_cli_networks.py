"""Networks, moments and margins on the command line: which files they come from, and what is told of them."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ellq.v1 import compression_pb2 as pb
from ellq_client.cli import exits
from ellq_client.networks import Calibration, Input, Linear, Network, Relu, TensorMoments, chain


def test_networks_moments_and_margins_come_from_files(ellq, fake, checkpoint, tmp_path):
    network = chain(Input(4), Linear("layer.weight", "layer.bias"))
    network.save(tmp_path / "net.json")
    calibration = Calibration({"layer.weight": TensorMoments(np.ones(4))}, 2, np.array([0.5, 2.0]))
    calibration.save(tmp_path / "moments.safetensors")
    np.save(tmp_path / "margins.npy", np.array([0.5, 2.0]))
    (tmp_path / "margins.txt").write_text("0.5\n2\n")
    for margins in ("margins.npy", "margins.txt", "moments.safetensors"):
        words = f"--rule error-budget --max-error 1 --network {tmp_path / 'net.json'} --box -1 1 --l2-radius 3"
        words += f" --moments {tmp_path / 'moments.safetensors'} --margins {tmp_path / margins} --remove-dead-neurons"
        code, out, err = ellq("analyze", checkpoint, *words.split(), "--magnitudes-only")
        assert code == 0, err
        assert "Guaranteed: the root mean square of no output's change, over the distribution of the moments, exceeds" in out
    for request, sent in zip(fake.requests, fake.moments, strict=True):
        assert request.network == network.with_inputs(box=(-1, 1), l2_radius=3, margins=[0.5, 2]).to_proto()
        assert (request.remove_dead_neurons, request.magnitudes_only) == (True, True)
        assert sent == list(calibration.to_frames())


@pytest.mark.parametrize(
    ("option", "text", "code"),
    [("--network", "{", 2), ("--network", None, 5), ("--moments", "x", 5), ("--margins", "a b", 5), ("--margins", None, 5)],
)
def test_broken_files_are_named_before_anything_is_sent(ellq, fake, checkpoint, tmp_path, option, text, code):
    chain(Input(4), Linear("layer.weight")).save(tmp_path / "net.json")
    if text is not None:
        (tmp_path / "broken").write_text(text)
    words = ["--network", tmp_path / "net.json", option, tmp_path / "broken"]
    found, _, err = ellq("analyze", checkpoint, *(words[2:] if option == "--network" else words))
    assert (found, "broken" in err, fake.requests) == (code, True, [])


def test_the_certificate_of_the_network_is_told_in_sentences(ellq, fake, checkpoint, tmp_path):
    def certify(frames):
        network = frames[-1].summary.network
        network.Clear()
        network.node, network.tightest = "fc", pb.GRADE_BALL
        network.grades.add(grade=pb.GRADE_BALL, node="fc", output_error_max=0.5, output_error_l2=1)
        network.endings.add(node="head", reason=pb.ENDING_REASON_UNBOUNDED, text="no bound is known for layer norm")
        return frames

    fake.damage = certify
    code, out, _ = ellq("compress", checkpoint, "-o", tmp_path / "o.safetensors", "--rule", "n-of-m")
    assert code == 0
    assert "network    speaks of node 'fc', NOT the output; the smallest error is that of ball" in out
    assert "no value of node 'fc' moves by more than 0.5" in out
    assert "NOTHING is promised of the network's output" in out
    assert "A certificate ends before 'head': no bound is known for layer norm." in out


def test_shrink_takes_dead_neurons_out(ellq, tmp_path):
    weights = {"a.weight": np.ones((3, 2), np.float32), "b.weight": np.array([[1, 0, 2]], np.float16), "c": np.arange(2)}
    save_file(weights, tmp_path / "a.safetensors")
    chain(Input(2), Linear("a.weight"), Relu(), Linear("b.weight")).save(tmp_path / "net.json")
    words = ("shrink", tmp_path / "a.safetensors", "-o", tmp_path / "b.safetensors", "--network", tmp_path / "net.json")
    code, out, err = ellq(*words)
    assert code == 0, err
    assert "removed    1 neuron of node 'a'" in out
    smaller = load_file(tmp_path / "b.safetensors")
    assert {name: (array.shape, array.dtype.name) for name, array in smaller.items()} == {
        "a.weight": ((2, 2), "float32"),
        "b.weight": ((1, 2), "float16"),
        "c": ((2,), "int64"),
    }
    assert Network.load(tmp_path / "b.network.json").nodes
    assert ellq(*words)[0] == exits.USAGE, "nothing is overwritten unasked"
    assert ellq(*words, "--force", "--quiet") == (0, "", "")
