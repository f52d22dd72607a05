"""ONNX: external data in every place that it must not be, graphs in graphs, and numbers in odd fields."""

from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.corpus.cases import Case, Make, refused, works
from tests.corpus.headers import WEIGHT, with_bytes


def model(*tensors: onnx.TensorProto, nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    """Return a model that multiplies its input by the first tensor."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("MatMul", ["x", tensors[0].name], ["y"])] if nodes is None else nodes
    graph = helper.make_graph(nodes, "model", [x], [y], initializer=tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def holding(*tensors: onnx.TensorProto, nodes: list[onnx.NodeProto] | None = None) -> Make:
    """Return what writes such a model."""
    return with_bytes(model(*tensors, nodes=nodes).SerializeToString())


fine, bad = partial(works, "m.onnx"), partial(refused, "m.onnx")

W = numpy_helper.from_array(WEIGHT, "w")
HALF = WEIGHT.astype(np.float16)


def beside(location: str, **told: object) -> onnx.TensorProto:
    """Return a weight that claims to be in a file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHT.shape, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **told}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def with_file(tensor: onnx.TensorProto, name: str = "w.bin") -> Make:
    """Return what writes a model and a file of its weights."""

    def make(path: Path) -> None:
        path.write_bytes(model(tensor).SerializeToString())
        path.with_name(name).write_bytes(WEIGHT.tobytes())

    return make


def link_out(path: Path) -> None:
    """Write a model whose data is a link that leads out of its folder."""
    path.write_bytes(model(beside("w.bin")).SerializeToString())
    path.with_name("w.bin").symlink_to("/etc/passwd")


def link_in_a_circle(path: Path) -> None:
    path.write_bytes(model(beside("w.bin")).SerializeToString())
    path.with_name("w.bin").symlink_to("w.bin")


def subgraph() -> onnx.ModelProto:
    """Return a model with weights in both branches of an If."""
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    branches = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", name], ["out"])], name, [], [out], [numpy_helper.from_array(WEIGHT, name)]
        )
        for name in ("then", "else")
    ]
    choose = helper.make_node("If", ["flag"], ["y"], then_branch=branches[0], else_branch=branches[1])
    return model(numpy_helper.from_array(np.array(True), "flag"), nodes=[choose])


def quantised() -> Make:
    """Return a model whose weights are bytes with a scale."""
    tensors = [
        numpy_helper.from_array((WEIGHT * 10).astype(np.int8), "q"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    nodes = [helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]), helper.make_node("MatMul", ["x", "d"], ["y"])]
    return holding(*tensors, nodes=nodes)


def cut_off(path: Path) -> None:
    text = model(W).SerializeToString()
    path.write_bytes(text[: len(text) // 2])


def short_of_bytes() -> onnx.TensorProto:
    tensor = numpy_helper.from_array(WEIGHT, "w")
    tensor.raw_data = tensor.raw_data[:-4]
    return tensor


NAMED = model(numpy_helper.from_array(WEIGHT, "weight")).SerializeToString()
INT4 = TensorProto(name="packed", data_type=TensorProto.INT4, dims=(4, 4), raw_data=bytes(8))

CASES: dict[str, Case] = {
    "raw bytes": fine(holding(W), "w"),
    "numbers in a field": fine(holding(helper.make_tensor("w", TensorProto.FLOAT, (4, 8), WEIGHT.ravel().tolist())), "w"),
    "halves in fields of 32 bits": fine(
        holding(helper.make_tensor("w", TensorProto.FLOAT16, (4, 8), HALF.ravel().tolist())), "w"
    ),
    "graphs in a graph": fine(with_bytes(subgraph().SerializeToString()), "then", "else"),
    "a file beside it": fine(with_file(beside("w.bin")), "w"),
    "a file of an odd name": fine(with_file(beside("w'ä \".bin"), "w'ä \".bin"), "w"),
    "a scalar, nothing, text": fine(
        holding(
            W,
            numpy_helper.from_array(np.float32(1), "scalar"),
            numpy_helper.from_array(np.ones((0, 4), np.float32), "none"),
            helper.make_tensor("text", TensorProto.STRING, (1,), [b"text"]),
        ),
        "w",
    ),
    "quantised, with a scale": fine(quantised()),
    "four bits": fine(holding(W, INT4), "w"),
    "suffix in capitals": works("M.ONNX", holding(W), "w"),
    "no weights": bad(holding(nodes=[helper.make_node("Relu", ["x"], ["y"])]), r"m\.onnx holds no tensors"),
    "a file above": bad(with_file(beside("../w.bin")), r"external data of 'w' would be at '\.\./w\.bin'"),
    "a file above, by a detour": bad(with_file(beside("x/../../w.bin")), r"'w' would be at 'x/\.\./\.\./w\.bin'"),
    "a file anywhere": bad(with_file(beside("/etc/passwd")), "'w' would be at '/etc/passwd'"),
    "a file nowhere": bad(with_file(beside("gone.bin")), r"of 'gone\.bin'.*there is no such file"),
    "a file without a name": bad(with_file(beside("")), "'w' would be at ''"),
    "a folder": bad(with_file(beside(".")), "'w' would be"),
    "a name with NUL": bad(with_file(beside("w\0.bin")), "'w' would be at"),
    "a link that leads out": bad(link_out, r"'w' would be at 'w\.bin'.*no link out of it"),
    "a link in a circle": bad(link_in_a_circle, "'w' would be"),
    "an offset below zero": bad(with_file(beside("w.bin", offset=-4)), "128 bytes at -4"),
    "an offset beyond the end": bad(with_file(beside("w.bin", offset=64)), r"128 bytes at 64 of 'w\.bin'.*it has 128"),
    "an offset that is no number": bad(with_file(beside("w.bin", offset="x")), r"'w' has no place in 'w\.bin'"),
    "a length of its own": bad(with_file(beside("w.bin", length=64)), "of which it needs 128"),
    "too few bytes": bad(holding(short_of_bytes()), "'w' does not hold together"),
    "a size below zero": bad(
        holding(TensorProto(name="w", data_type=1, dims=(-4, -8))), r"m\.onnx holds no tensors.*\(w: a type or shape"
    ),
    "a name not UTF-8": bad(with_bytes(NAMED.replace(b"weight", b"w\xffight")), r"m\.onnx is no whole ONNX model: .*not UTF-8"),
    "cut off": bad(cut_off, r"m\.onnx is no ONNX model"),
    "no model": bad(with_bytes(b"\xff" * 99), r"m\.onnx is no ONNX model"),
}
