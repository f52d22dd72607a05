"""ONNX models: neurons are what the graph computes, weights go back to where they were, and the result still runs."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from tests.client.formats.conftest import HALF, check_only_zeros, sent
from tests.client.formats.onnx_models import everywhere, external, external_at, model_of, raw, seeded, typed

from ellq_client import Fraction, OutputError, SourceError, verify, write_report
from ellq_client.fitting import layouts_of
from ellq_client.formats.layouts import left_alone
from ellq_client.sources import open_source


def saved(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def run(path: Path, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, {"x": x})[0]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(everywhere(tmp_path), tmp_path / "m.onnx")


def test_weights_go_back_to_where_they_were(client, model, tmp_path):
    output = tmp_path / "out.onnx"
    result = client.compress(model, output, rule=HALF).result()
    compressed = {tensor.name: tensor.neuron_axis for tensor in result.tensors if tensor.treatment == "compress"}
    assert compressed == dict.fromkeys(["raw", "typed", "beside", "constant", "inner", "choice/then_branch/inner"], (1,))
    check_only_zeros(model, output, result)
    onnx.checker.check_model(output, full_check=True)
    old, new = (onnx.load(path, load_external_data=False) for path in (model, output))
    tensors = {tensor.name: tensor for tensor in new.graph.initializer}
    assert tensors["raw"].HasField("raw_data")
    assert len(tensors["typed"].float_data) == 64
    assert not tensors["typed"].HasField("raw_data")
    assert {entry.key: entry.value for entry in tensors["beside"].external_data} == {
        "location": "out.onnx.data",
        "offset": "0",
        "length": "256",
    }
    for one in (old, new):
        for tensor in one.graph.initializer:
            for field in ("raw_data", "float_data", "external_data"):
                tensor.ClearField(field)
        one.graph.node[3].attribute[0].ClearField("t")
        for branch in one.graph.node[6].attribute:
            branch.g.initializer[0].ClearField("raw_data")
    assert old == new
    assert np.isfinite(run(output, seeded(3, 6))).all()


def test_what_runs_is_what_was_reported(client, model, tmp_path):
    client.compress(model, tmp_path / "out.onnx", rule=HALF).result()
    weights = client.compress(model, rule=HALF).result().weights
    x = seeded(3, 6)
    h = x @ weights["raw"] @ weights["typed"] @ weights["beside"] @ weights["constant"] + seeded(1, 4)
    np.testing.assert_allclose(run(tmp_path / "out.onnx", x), h @ weights["choice/then_branch/inner"], rtol=1e-4)


def test_verify_and_safetensors(client, model, tmp_path):
    result = client.compress(model, tmp_path / "out.onnx", rule=HALF).result()
    write_report(result, tmp_path / "report.json")
    client.compress(model, tmp_path / "out.safetensors", rule=HALF).result()
    for output in ("out.onnx", "out.safetensors"):
        assert verify(model, tmp_path / output, tmp_path / "report.json").changed_tensors == 6


def test_nothing_of_two_files_appears_when_one_cannot(client, model, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("ellq_client.formats.onnx_file.onnx.ModelProto.SerializeToString", full, raising=False)
    (tmp_path / "out.onnx.data").touch()
    with pytest.raises(OutputError, match=r"out\.onnx\.data exists"):
        client.compress(model, tmp_path / "out.onnx", rule=HALF).result()
    (tmp_path / "out.onnx.data").unlink()
    replace = __import__("os").replace
    monkeypatch.undo()
    monkeypatch.setattr("os.replace", lambda old, new: full() if str(new).endswith(".onnx") else replace(old, new))
    with pytest.raises(OutputError, match="No space left"):
        client.compress(model, tmp_path / "out.onnx", rule=HALF).result()
    assert sorted(tmp_path.iterdir()) == before


LAYERS = {
    "MatMul": ([helper.make_node("MatMul", ["x", "w"], ["y"])], (6, 5), (2, 6)),
    "MatMul, transposed": (
        [helper.make_node("Transpose", ["w"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"])],
        (5, 6),
        (2, 6),
    ),
    "MatMul of a stack": ([helper.make_node("MatMul", ["x", "w"], ["y"])], (3, 6, 5), (3, 2, 6)),
    "MatMul from the left": ([helper.make_node("MatMul", ["w", "x"], ["y"])], (5, 6), (6, 2)),
    "Gemm": ([helper.make_node("Gemm", ["x", "w"], ["y"])], (6, 5), (2, 6)),
    "Gemm, transposed": ([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], (5, 6), (2, 6)),
    "Gemm from the left": ([helper.make_node("Gemm", ["w", "x"], ["y"], transA=1)], (6, 5), (6, 2)),
    "Conv": ([helper.make_node("Conv", ["x", "w"], ["y"])], (5, 6, 3), (1, 6, 4)),
    "Conv of groups": ([helper.make_node("Conv", ["x", "w"], ["y"], group=2)], (6, 2, 3), (1, 4, 5)),
    "ConvTranspose": ([helper.make_node("ConvTranspose", ["x", "w"], ["y"])], (6, 5, 3), (1, 6, 4)),
    "ConvTranspose of each": ([helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=4)], (4, 2, 3), (1, 4, 5)),
    "Unsqueeze": (
        [helper.make_node("Unsqueeze", ["w", "axes"], ["u"]), helper.make_node("Conv", ["x", "u"], ["y"])],
        (5, 6),
        (1, 6, 4),
    ),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_neuron_is_what_one_output_is_computed_from(layer, tmp_path):
    """Doubling the weights of one neuron doubles one output channel, and changes no other."""
    nodes, shape, takes = LAYERS[layer]
    weight = seeded(*shape)
    x = seeded(*takes)

    def output_of(array: np.ndarray) -> tuple[Path, np.ndarray]:
        tensors = [raw("w", array), raw("axes", np.array([2]))]
        path = saved(model_of(nodes, tensors, takes=takes), tmp_path / "m.onnx")
        return path, run(path, x)

    path, before = output_of(weight)
    layout = layouts_of(open_source(path)).get("w")
    axes = (0,) if layout is None else layout.neuron_axis
    neurons = int(np.prod([shape[axis] for axis in axes]))
    seen = np.zeros(before.shape, int)
    for neuron in range(neurons):
        changed = np.moveaxis(weight.copy(), axes, range(len(axes)))
        changed.reshape(neurons, -1)  # a view: what is doubled below is one row of it
        changed[np.unravel_index(neuron, changed.shape[: len(axes)])] *= 2
        doubled = np.moveaxis(changed, range(len(axes)), axes)
        _, after = output_of(doubled)
        moved = after != before
        np.testing.assert_allclose(after[moved], 2 * before[moved], rtol=1e-5)
        seen += moved
    assert (seen == 1).all()


def test_what_is_no_weight_of_a_layer_is_left_alone(client, tmp_path):
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Add", ["x", "rows"], ["a"]),
        helper.make_node("Mul", ["a", "scale"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("MatMul", ["c", "both"], ["d"]),
        helper.make_node("Gemm", ["d", "both"], ["e"], transB=1),
        helper.make_node("MatMul", ["e", "head"], ["y"], name="/lm_head/MatMul"),
    ]
    tensors = [raw(name, seeded(6, 6)) for name in ("table", "w", "both", "head", "unused")]
    tensors += [raw("scale", seeded(1, 6)), raw("ids", np.array([0, 1]))]
    path = saved(model_of(nodes, tensors, takes=(2, 6)), tmp_path / "m.onnx")
    result = client.analyze(path, rule=HALF).result()
    assert [tensor.name for tensor in result.tensors if tensor.treatment == "compress"] == ["w"]
    assert {name: why for name, why in result.notes.items() if name != "ids"} == {
        "table": "a table of rows: input 0 of Gather",
        "scale": "no weights of a layer: input 1 of Mul",
        "w": "weights of a layer: input 1 of MatMul",
        "both": "nodes take it in different layouts",
        "head": "a table of rows: input 1 of MatMul '/lm_head/MatMul'",
        "unused": "no node takes it",
    }
    included = client.analyze(path, rule=HALF, include=["table"]).result()
    assert included["table"].treatment == "compress"


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_gates_of_recurrent_layers_are_neurons(kind, tmp_path):
    gates = {"LSTM": 4, "GRU": 3}[kind]
    node = helper.make_node(kind, ["x", "w", "r", "b"], ["y"], hidden_size=5, direction="bidirectional")
    tensors = [raw("w", seeded(2, gates * 5, 6)), raw("r", seeded(2, gates * 5, 5)), raw("b", seeded(2, 2 * gates * 5))]
    path = saved(model_of([node], tensors, takes=(3, 1, 6)), tmp_path / "m.onnx")
    run(path, seeded(3, 1, 6))
    layouts = layouts_of(open_source(path))
    assert {name: (layout.neuron_axis, layout.left_alone) for name, layout in layouts.items()} == {
        "w": ((0, 1), False),
        "r": ((0, 1), False),
        "b": ((), True),
    }


@pytest.mark.parametrize("make", [raw, typed])
@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_every_dtype_in_either_place(client, tmp_path, make, dtype):
    import ml_dtypes

    array = seeded(6, 8).astype(getattr(ml_dtypes, dtype, dtype))
    nodes = [helper.make_node("Cast", ["w"], ["c"], to=1), helper.make_node("MatMul", ["x", "c"], ["y"])]
    path = saved(model_of(nodes, [make("w", array)], takes=(2, 6), gives=(2, 8)), tmp_path / "m.onnx")
    assert sent(path)["w"] == array.tobytes()
    result = client.compress(path, tmp_path / "out.onnx", rule=Fraction(pruned_ratio=0.25)).result()
    check_only_zeros(path, tmp_path / "out.onnx", result)
    onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer}
    np.testing.assert_allclose(run(tmp_path / "out.onnx", seeded(2, 6)), seeded(2, 6) @ weights["w"].astype("f4"), rtol=1e-4)


@pytest.mark.parametrize(
    ("told", "trouble"),
    [
        ({"location": "../secret"}, "no link out of it"),
        ({"location": "/etc/hostname"}, "no link out of it"),
        ({"location": "link"}, "no link out of it"),
        ({"location": "inside/../../secret"}, "no link out of it"),
        ({}, "no link out of it"),
        ({"location": "missing"}, "no such file"),
        ({"location": "a\0b"}, "which is no place"),
        ({"location": "a" * 300}, "which is no place"),
        ({"location": "circle"}, "would be"),
        ({"location": "weights", "offset": "1"}, "it has 144"),
        ({"location": "weights", "offset": "-1"}, "it has 144"),
        ({"location": "weights", "length": "143"}, "of which it needs 144"),
        ({"location": "weights", "offset": "x"}, "no place in 'weights'"),
    ],
)
def test_external_data_stays_in_its_folder(tmp_path, told, trouble):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(144))
    (folder / "weights").write_bytes(bytes(144))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "circle").symlink_to("circle")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = saved(model_of([node], [external_at("w", seeded(6, 6), **told)], takes=(2, 6)), folder / "m.onnx")
    with pytest.raises(SourceError, match=f"external data of 'w'.*{trouble}"):
        open_source(path)


def test_external_data_that_changes_meanwhile_is_refused(client, tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    tensor = external("w", seeded(6, 6), tmp_path, "weights")
    source = open_source(saved(model_of([node], [tensor], takes=(2, 6)), tmp_path / "m.onnx"))
    (tmp_path / "weights").write_bytes(bytes(145))
    with pytest.raises(SourceError, match="weights changed"):
        list(source.frames())


def test_external_data_that_are_cut_off_meanwhile_are_refused(tmp_path):
    """A mapped file would end the process here, with SIGBUS."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    tensor = external("w", seeded(128, 128), tmp_path, "weights")
    source = open_source(saved(model_of([node], [tensor], takes=(2, 128)), tmp_path / "m.onnx"))
    os.truncate(tmp_path / "weights", 1)
    with pytest.raises(SourceError, match="weights changed while it was read"):
        bytes(source.contents.entries[0].load())


def test_a_tensor_joined_with_itself_again_and_again_costs_no_more(tmp_path):
    doubled = [helper.make_node("Concat", [f"w{n}", f"w{n}"], [f"w{n + 1}"], axis=0) for n in range(200)]
    widened: list[onnx.NodeProto] = []
    for n in range(20):  # each way to widen is another part
        widened += [helper.make_node("Unsqueeze", [f"v{n}"], [f"v{n}.{axis}"], axes=[axis]) for axis in (0, 1, -1)]
        widened.append(helper.make_node("Concat", [f"v{n}.0", f"v{n}.1", f"v{n}.-1"], [f"v{n + 1}"], axis=0))
    nodes = [
        *doubled,
        *widened,
        helper.make_node("MatMul", ["x", "w200"], ["h"]),
        helper.make_node("MatMul", ["h", "v20"], ["y"]),
    ]
    path = saved(model_of(nodes, [raw("w0", seeded(6, 6)), raw("v0", seeded(6, 6))], takes=(2, 6)), tmp_path / "m.onnx")
    layouts = layouts_of(open_source(path))
    assert layouts["w0"].neuron_axis == (1,)
    assert layouts["v0"] == left_alone("no weights of a layer: input 0 of Concat")


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "Attention", "MatMul", "Gemm", "LSTM", "Gather"])
@pytest.mark.parametrize("shape", [(), (4,)])
def test_weights_of_too_few_axes_are_left_alone(tmp_path, kind, shape):
    node = helper.make_node(kind, ["x", "w"], ["y"])
    node.attribute.add(name="group", i=3)  # of no type
    path = saved(model_of([node], [raw("w", seeded(*shape) if shape else np.float32(1))], takes=(2, 4)), tmp_path / "m.onnx")
    layout = layouts_of(open_source(path)).get("w")
    assert layout is None or layout.left_alone


def test_nodes_that_no_runtime_takes_pass_nothing_on(tmp_path):
    short = raw("short", np.array([0, 1]))
    short.raw_data = short.raw_data[:3]
    nodes = [
        helper.make_node("Constant", [], [], value=raw("c", seeded(2, 2))),
        helper.make_node("Identity", ["w"], []),
        helper.make_node("If", ["flag"], [], then_branch=helper.make_graph([], "then", [], [])),
        helper.make_node("Unsqueeze", ["a", "short"], ["a1"]),
        helper.make_node("Unsqueeze", ["b", "far"], ["b1"]),
        helper.make_node("MatMul", ["x", "a1"], ["h"]),
        helper.make_node("MatMul", ["h", "b1"], ["y"]),
    ]
    tensors = [*(raw(name, seeded(6, 6)) for name in "wab"), short, raw("far", np.array([99])), raw("flag", np.array(True))]
    layouts = layouts_of(open_source(saved(model_of(nodes, tensors, takes=(2, 6)), tmp_path / "m.onnx")))
    assert layouts["w"] == left_alone("no weights of a layer: input 0 of Identity")
    assert layouts["a"] == layouts["b"] == left_alone("no weights of a layer: input 0 of Unsqueeze")


def test_damaged_models_are_named(tmp_path):
    path = tmp_path / "m.onnx"
    short = raw("w", seeded(6, 6))
    short.raw_data = short.raw_data[:-4]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path.write_bytes(b"no model")
    with pytest.raises(SourceError, match=r"m\.onnx is no ONNX model"):
        open_source(path)
    source = open_source(saved(model_of([node], [short], takes=(2, 6)), path))
    with pytest.raises(SourceError, match="'w' does not hold together: 140 bytes"):
        list(source.frames())
