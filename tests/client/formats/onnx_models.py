"""Small ONNX models with weights in every place and layout."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def seeded(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto],
    *,
    takes: tuple[int | str, ...],
    gives: tuple[int | str, ...] | None = None,
) -> onnx.ModelProto:
    """Return a model from x to y, both float32."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, takes)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, gives)
    graph = helper.make_graph(nodes, "model", [x], [y], initializer=tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def raw(name: str, array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def typed(name: str, array: np.ndarray) -> onnx.TensorProto:
    """Return a tensor whose numbers are in typed fields."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, kind, array.shape, array.ravel().tolist())


def external(name: str, array: np.ndarray, folder: Path, location: str, *, offset: int = 0) -> onnx.TensorProto:
    """Return a tensor whose numbers are in a file of the folder."""
    with (folder / location).open("ab") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(array.tobytes())
    return external_at(name, array, location=location, offset=str(offset), length=str(array.nbytes))


def external_at(name: str, array: np.ndarray, **told: str) -> onnx.TensorProto:
    """Return a tensor that claims to be somewhere."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
    for key, value in told.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def everywhere(folder: Path) -> onnx.ModelProto:
    """Return a model with weights as raw bytes, in typed fields, in another file, in a constant and in graphs of an If."""
    same = [numpy_helper.from_array(seeded(4, 4) + place, "inner") for place in (0, 1)]
    shared = helper.make_tensor_value_info("branch", TensorProto.FLOAT, ["n", 4])
    branches = [
        helper.make_graph([helper.make_node("MatMul", ["h5", "inner"], ["branch"])], name, [], [shared], initializer=[tensor])
        for name, tensor in zip(("then", "else"), same, strict=True)
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "raw"], ["h1"]),
        helper.make_node("MatMul", ["h1", "typed"], ["h2"]),
        helper.make_node("MatMul", ["h2", "beside"], ["h3"]),
        helper.make_node("Constant", [], ["constant"], value=numpy_helper.from_array(seeded(8, 4))),
        helper.make_node("MatMul", ["h3", "constant"], ["h4"]),
        helper.make_node("Add", ["h4", "bias"], ["h5"]),
        helper.make_node("If", ["flag"], ["y"], name="choice", then_branch=branches[0], else_branch=branches[1]),
    ]
    tensors = [
        raw("raw", seeded(6, 8)),
        typed("typed", seeded(8, 8)),
        external("beside", seeded(8, 8), folder, "weights.bin", offset=64),
        raw("bias", seeded(1, 4)),
        raw("flag", np.array(True)),
    ]
    return model_of(nodes, tensors, takes=("n", 6), gives=("n", 4))
