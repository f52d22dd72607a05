"""The command line, run as a person runs it: in its own process where that matters, else through `main`."""

import json
import os
import signal
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ellq.v1 import compression_pb2 as pb
from ellq_client import errors
from ellq_client.channels import ServerAddress
from ellq_client.cli import exits
from ellq_client.cli.choices import RULE_OPTIONS
from ellq_client.cli.progress import follow, work_on
from ellq_client.cli.wording import in_options, shortened
from ellq_client.handshakes import unreached
from ellq_client.networks import Calibration, Input, Linear, Network, Relu, TensorMoments, chain
from ellq_client.rules import RULES

COMMAND = [sys.executable, "-c", "from ellq_client.cli import main; main()"]


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


def test_a_file_for_tls_that_cannot_be_read_is_a_local_file(ellq, checkpoint):
    code, _, err = ellq("analyze", checkpoint, "--tls-ca", "absent.pem")
    assert (code, "cannot read absent.pem for TLS: No such file" in err) == (exits.LOCAL_FILE, True), err


def test_options_become_the_request(ellq, fake, checkpoint):
    words = """
        --rule pq-index --q 1.5 --beta 0.5 --scope layer --index-q 0.25 --index-pq 0.5 2 --include a* --include b* --exclude c*
        --override d=skip --override e=axis:0,1 --override f=tail:epsilon=0.01,p=1,scope=layer --nonfinite pass-through
        --ignore-zeros --neurons --distribution
    """
    assert ellq("analyze", checkpoint, *words.split())[0] == 0
    assert fake.requests == [
        pb.AnalyzeOptions(
            selection=pb.Selection(
                include=["a*", "b*"],
                exclude=["c*"],
                overrides=[
                    pb.TensorOverride(glob="d", skip=True),
                    pb.TensorOverride(glob="e", neuron_axis=[0, 1]),
                    pb.TensorOverride(glob="f", rule=pb.Rule(scope=pb.SCOPE_LAYER, tail=pb.TailRule(epsilon=0.01, p=1))),
                ],
            ),
            indices=pb.IndexOptions(q=0.25, pq_p=0.5, pq_q=2),
            rule=pb.Rule(scope=pb.SCOPE_LAYER, pq_index=pb.PqIndexRule(p=0.5, q=1.5, gamma=1, beta=0.5)),
            nonfinite=pb.NONFINITE_POLICY_PASS_THROUGH,
            ignore_zeros=True,
            neuron_reports=True,
            distribution=True,
        )
    ]


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
    ("message", "told"),
    [
        (
            "options.rule.error_budget of GRADE_BOX needs options.network.inputs.box",
            "--rule error-budget of grade box needs --box",
        ),
        (
            "of GRADE_MEAN_SQUARE needs moments, which come in frames before the data",
            "of grade mean-square needs moments: give --moments FILE",
        ),
        ("options.network.topology: tensor 'a' is not in the stream", "--network: tensor 'a' is not in the stream"),
        ("options.remove_dead_neurons needs options.network", "--remove-dead-neurons needs --network"),
        ("rule.error_budget.max_error: 0 is out of range", "--max-error: 0 is out of range"),
    ],
)
def test_fields_are_told_as_options(message, told):
    assert in_options(message) == told


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
    assert "removed    1 neurons of node 'a'" in out
    smaller = load_file(tmp_path / "b.safetensors")
    assert {name: (array.shape, array.dtype.name) for name, array in smaller.items()} == {
        "a.weight": ((2, 2), "float32"),
        "b.weight": ((1, 2), "float16"),
        "c": ((2,), "int64"),
    }
    assert Network.load(tmp_path / "b.network.json").nodes
    assert ellq(*words)[0] == exits.USAGE, "nothing is overwritten unasked"
    assert ellq(*words, "--force", "--quiet") == (0, "", "")


def test_every_rule_has_its_options():
    assert {name.replace("-", "_") for name in RULE_OPTIONS} == set(RULES)
    fields_of = {"ratio": "pruned_ratio", "max-error": "max_error"}
    for name, options in RULE_OPTIONS.items():
        fields = set(RULES[name.replace("-", "_")].__dataclass_fields__) - {"scope", "kind"}
        assert {fields_of.get(option, option) for option in options} == fields


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("sparsity-index", pb.Rule(scope=1, sparsity_index=pb.SparsityIndexRule(q=0.5))),
        ("pq-index", pb.Rule(scope=1, pq_index=pb.PqIndexRule(p=0.5, q=1, gamma=1, beta=0.9))),
        ("tail --epsilon 0.1", pb.Rule(scope=1, tail=pb.TailRule(epsilon=0.1, p=2))),
        ("lq-bound --epsilon 0.1", pb.Rule(scope=1, lq_bound=pb.LqBoundRule(epsilon=0.1, q=0.5, p=2))),
        ("fraction --ratio 0.3", pb.Rule(scope=1, fraction=pb.FractionRule(pruned_ratio=0.3))),
        ("n-of-m", pb.Rule(scope=1, n_of_m=pb.NOfMRule(n=2, m=4))),
        (
            "error-budget --max-error 0.5",
            pb.Rule(scope=3, error_budget=pb.ErrorBudgetRule(max_error=0.5, grade=pb.GRADE_MEAN_SQUARE)),
        ),
        (
            "error-budget --ratio 0.5 --grade box --measured",
            pb.Rule(scope=3, error_budget=pb.ErrorBudgetRule(pruned_ratio=0.5, grade=pb.GRADE_BOX, measured=True)),
        ),
        ("lasso --epsilon 0.1", pb.Rule(scope=1, lasso=pb.LassoRule(epsilon=0.1))),
    ],
)
def test_defaults_are_those_that_help_tells(ellq, fake, checkpoint, rule, expected):
    assert ellq("analyze", checkpoint, "--rule", *rule.split())[0] == 0
    assert fake.requests[0].rule == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rule magic", "'magic' is not one of sparsity-index"),
        ("--rule tail", "--epsilon: the rule tail needs it"),
        ("--rule fraction", "--ratio: the rule fraction needs it"),
        ("--rule tail --epsilon 0.1 --q 0.5", "--q: the rule tail has no such option; it has --epsilon, --p"),
        ("--rule tail --epsilon 0.1 --p 1.5", "--p: 1.5 is not a whole number"),
        ("--q 0.5", "--q: says something about a rule, but no --rule is given"),
        ("--scope layer", "--scope: says something about a rule"),
        ("--nonfinite pass_through", "'pass_through' is not one of refuse, pass-through"),
        ("--rule n-of-m --scope rows", "'rows' is not one of neuron, layer, global"),
        ("--override a", "'a' is not GLOB=skip"),
        ("--override a=axis:x", "'x' is not the number of an axis"),
        ("--override a=tail:epsilon", "'epsilon' is not option=value"),
        ("--override a=tail:epsilon=x", "epsilon is 'x', which is no number"),
        ("--override a=tail:n=1,epsilon=0.1", "no such option"),
        ("--nonfinite drop", "'drop' is not one of refuse"),
        ("--server nowhere", "neither host:port"),
        ("--timeout 0", "--timeout"),
        ("--index-q 0", "0 is out of range"),
        ("--rule error-budget", "--max-error: the rule error-budget needs it or --ratio, one of the two"),
        ("--rule error-budget --max-error 1 --ratio 0.5", "one of the two"),
        ("--rule error-budget --max-error 1 --grade ball", "'ball' is not one of mean-square, box"),
        ("--rule lasso", "--epsilon: the rule lasso needs it"),
        ("--measured", "--measured: says something about a rule"),
        ("--max-error 1", "--max-error: says something about a rule"),
        ("--box 0 1", "--box: says something about a network, but no --network is given"),
        ("--l2-radius 3", "--l2-radius: says something about a network"),
    ],
)
def test_a_wrong_command_line_is_refused_by_the_word_and_nothing_is_sent(ellq, fake, checkpoint, words, message):
    code, out, err = ellq("analyze", checkpoint, *words.split())
    assert code == exits.USAGE
    assert message in err
    assert out == ""
    assert fake.requests == []


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("options.rule.tail.epsilon", "--epsilon"),
        ("options.rule.fraction.pruned_ratio", "--ratio"),
        ("options.rule.scope", "--scope"),
        ("options.rule", "--rule"),
        ("options.indices.pq_p", "--index-pq"),
        ("options.selection.exclude", "--exclude"),
        ("options.selection.overrides[1].rule.tail.epsilon", "--override number 2, epsilon"),
        ("options.selection.overrides[0].neuron_axis", "--override number 1, neuron_axis"),
    ],
)
def test_what_the_server_refuses_is_said_in_options(ellq, fake, refusal, checkpoint, field, option):
    fake.refusals = [refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{field} is wrong", "INVALID_RULE", field)]
    code, _, err = ellq("analyze", checkpoint)
    assert (code, err) == (exits.USAGE, f"ellq: {option} is wrong\n")


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


def test_where_no_server_is_the_message_says_what_to_check(ellq, checkpoint):
    code, _, err = ellq("analyze", checkpoint, "--server", "[::1]:1")
    assert (code, "check the address, and that a server runs there (`ellq serve` starts one)" in err) == (exits.NO_SERVER, True)
    words = "failed to connect to all addresses; last error: UNKNOWN: ipv6:%5B::1%5D:1: Connection refused"
    for uri, hidden in [("dns:///localhost:1", True), ("dns:///[::1]:1", False)]:
        assert ("127.0.0.1 in its place" in unreached(words, ServerAddress(uri, "target"))[1]) is hidden
    assert "ellq serve" in unreached("DNS resolution failed for a:1", ServerAddress("dns:///a:1", "target"))[1]


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


def test_the_environment_sets_the_timeout(ellq, fake, checkpoint, monkeypatch):
    answer = fake._answer

    def slow(*arguments):
        time.sleep(1)
        yield from answer(*arguments)

    monkeypatch.setattr(fake, "_answer", slow)
    monkeypatch.setenv("ELLQ_TIMEOUT", "0.3")
    code, _, err = ellq("analyze", checkpoint)
    assert (code, err) == (exits.DEADLINE, "ellq: not done within 0.3 seconds (--timeout)\n")


def test_serve_without_the_server_says_what_to_install(ellq, monkeypatch):
    monkeypatch.setitem(sys.modules, "ellq_server.main", None)
    code, _, err = ellq("serve")
    assert (code, "pip install 'ellq[server]'" in err, "--server" in err) == (exits.USAGE, True, False)


def test_compress_needs_a_rule_and_a_place(ellq, checkpoint, tmp_path):
    code, _, err = ellq("compress", checkpoint, "-o", tmp_path / "o.safetensors")
    assert (code, "--rule: needed; one of sparsity-index" in err) == (exits.USAGE, True)
    assert ellq("compress", checkpoint, "--rule", "n-of-m")[0] == exits.USAGE


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


@pytest.mark.parametrize(
    ("refusal_of", "code"),
    [
        (("INVALID_ARGUMENT", "INVALID_Q"), 2),
        (("RESOURCE_EXHAUSTED", "BUSY"), 3),
        (("UNAVAILABLE", "DRAINING"), 3),
        (("UNAUTHENTICATED", None), 3),
        (("UNIMPLEMENTED", None), 3),
        (("DEADLINE_EXCEEDED", None), 4),
        (("INTERNAL", "CERTIFICATE_REFUTED"), 1),
        (("UNKNOWN", None), 1),
    ],
)
def test_exit_codes_tell_whose_move_it_is(ellq, fake, refusal, checkpoint, no_waiting, refusal_of, code):
    status, reason = refusal_of
    fake.refusals = [refusal(grpc.StatusCode[status], "because", reason)] * 4
    found, _, err = ellq("analyze", checkpoint)
    assert found == code
    assert "ellq: because" in err


def test_every_error_has_an_exit_code_and_help_tells_it():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EllqError)]
    for kind in set(kinds) - {errors.EllqError, errors.RemoteError}:
        assert exits.exit_code(kind.__new__(kind)) in {1, 2, 3, 4, 5}
    for code in {*exits.CODES.values(), exits.INTERRUPTED, exits.BROKEN_PIPE}:
        assert f"\n{code} " in exits.EXPLAINED


def test_files_that_are_not_there(ellq, tmp_path):
    assert ellq("analyze", tmp_path / "none.safetensors")[0] == exits.LOCAL_FILE
    assert ellq("analyze", tmp_path)[0] == exits.LOCAL_FILE
    assert ellq("verify", tmp_path / "a", tmp_path / "b")[0] == exits.LOCAL_FILE


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


@pytest.mark.parametrize("command", [[], ["analyze"], ["compress"], ["verify"], ["network"], ["shrink"], ["capabilities"]])
def test_help_loads_nothing_that_it_does_not_need(command):
    code = (
        "import sys\n"
        f"sys.argv = ['ellq', *{command!r}, '--help']\n"
        "from ellq_client.cli import main\n"
        "try: main()\n"
        "except SystemExit as done: assert done.code == 0\n"
        "heavy = {'numpy', 'grpc', 'torch', 'google.protobuf', 'rich', 'ellq_server', 'ellq_math'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_server_explains_its_own_settings():
    shown = subprocess.run([*COMMAND, "serve", "--help"], check=True, capture_output=True, text=True)
    assert "--listen" in shown.stdout


def test_version(ellq):
    code, out, _ = ellq("--version")
    assert (code, out.split()[0]) == (0, "ellq")


def test_interruption_leaves_nothing_behind(fake, checkpoint, tmp_path, monkeypatch):
    answer = fake._answer

    def slow(request_iterator, context, kind):
        for number, frame in enumerate(answer(request_iterator, context, kind)):
            yield frame
            if number == 5:
                time.sleep(3)

    monkeypatch.setattr(fake, "_answer", slow)
    output = tmp_path / "small.safetensors"
    command = [*COMMAND, "compress", str(checkpoint), "-o", str(output), "--rule", "n-of-m", "--server", fake.address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(list(tmp_path.iterdir())) == 2, "the unfinished file"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == exits.INTERRUPTED, err
    assert "interrupted" in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_reader_that_goes_away_is_no_crash(fake, checkpoint):
    words = ["analyze", str(checkpoint), "--json", "-", "--quiet", "--server", fake.address]
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen([*COMMAND, *words], stdout=writer, stderr=subprocess.PIPE, text=True) as process:
        os.close(writer)
        _, err = process.communicate(timeout=20)
    assert process.returncode == exits.BROKEN_PIPE
    assert "Traceback" not in err
    assert "Exception ignored" not in err
