"""Networks derived from ONNX models compute what ONNX says the models compute."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tests.client.networks.exact import run_network

from ellq_client import SourceError, UnderivableNetwork
from ellq_client.networks import Add, Affine, Linear, Silu, Unbounded, network_of_onnx, weights_of_onnx

RANDOM = np.random.default_rng(0)


def whole(*shape):
    return RANDOM.integers(-2, 3, shape).astype(np.float32)


def model_of(nodes, shape, constants=None, *, outputs=("y",), batch="batch"):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.example", 1)])


def node(kind, inputs, output="y", **attributes):
    return helper.make_node(kind, inputs, [output], **attributes)


def assert_same(model, shape, *, samples=2):
    """Whole numbers below 2^24: float32 and float64 compute the same, without rounding."""
    inputs = RANDOM.integers(-3, 4, (samples, *shape)).astype(np.float32)
    network = network_of_onnx(model)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": inputs})
    weights = {name: array.astype(np.float64) for name, array in weights_of_onnx(model).items()}
    assert np.array_equal(run_network(network, weights, inputs.astype(np.float64)), expected)
    return network


def test_perceptron():
    constants = {"w1": whole(5, 4), "b1": whole(5), "w2": whole(5, 3), "b2": whole(3)}
    nodes = [
        node("Gemm", ["x", "w1", "b1"], "a", transB=1),
        node("Relu", ["a"], "b"),
        node("MatMul", ["b", "w2"], "c"),
        node("Add", ["b2", "c"]),
    ]
    network = assert_same(model_of(nodes, (4,), constants), (4,))
    assert network.nodes[-1].operation == Linear("w2", "b2", transposed=True)


def test_a_product_that_others_take_keeps_its_sum_apart():
    nodes = [node("MatMul", ["x", "w"], "a"), node("Add", ["a", "b"], "c"), node("Add", ["a", "c"])]
    network = assert_same(model_of(nodes, (4,), {"w": whole(4, 3), "b": whole(3)}), (4,))
    assert [type(one.operation) for one in network.nodes[2:]] == [Affine, Add]


def test_convolutions():
    constants = {"w1": whole(4, 1, 3, 2), "b1": whole(4), "w2": whole(3, 4, 1, 1), "to": np.array([0, -1]), "w3": whole(12, 2)}
    constants |= {name: whole(3) for name in ("scale", "bias", "mean")}
    constants["variance"] = np.full(3, 4 - 2.0**-10, np.float32)
    nodes = [
        node("Conv", ["x", "w1", "b1"], "a", pads=[1, 0, 1, 1], dilations=[1, 1], strides=[1, 1], group=2),
        node("LeakyRelu", ["a"], "b", alpha=0.5),
        node("MaxPool", ["b"], "c", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["c", "w2"], "d"),
        node("BatchNormalization", ["d", "scale", "bias", "mean", "variance"], "e", epsilon=2.0**-10),
        node("Mul", ["e", "channels"], "f"),
        node("Add", ["channels", "f"], "g"),
        node("Clip", ["g", "least", "most"], "h"),
        node("AveragePool", ["h"], "i", kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["i", "to"], "j"),
        node("Gemm", ["j", "w3"]),
    ]
    for name, value in (("channels", whole(1, 3, 1, 1)), ("least", np.float32(-4)), ("most", np.float32(9))):
        nodes.insert(0, helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)))
    network = assert_same(model_of(nodes, (2, 4, 4), constants), (2, 4, 4))
    assert not [one for one in network.nodes if isinstance(one.operation, Unbounded)]


def test_one_dimension_and_branches():
    nodes = [
        node("Conv", ["x", "w"], "a", pads=[1, 1]),
        node("Relu", ["a"], "b"),
        node("Add", ["a", "b"], "c"),
        node("Concat", ["c", "x"], "d", axis=1),
        node("Identity", ["d"], "e"),
        node("GlobalAveragePool", ["e"], "f"),
        node("Flatten", ["f"]),
    ]
    assert_same(model_of(nodes, (2, 4), {"w": whole(2, 2, 3)}), (2, 4))


@pytest.mark.parametrize("batch", ["batch", 2])
def test_reshapes(batch):
    shape = np.array([2 if batch == 2 else -1, 2, 6])
    nodes = [node("Reshape", ["x", "to"], "a"), node("ReduceMean", ["a", "axes"], keepdims=0)]
    inputs = {"to": shape, "axes": np.array([-1])}
    model = model_of(nodes, (3, 4), inputs, batch=batch)
    network = network_of_onnx(model)
    values = RANDOM.normal(size=(2, 3, 4))
    expected = values.reshape(2, 2, 6).mean(-1)
    np.testing.assert_allclose(run_network(network, {}, values), expected, rtol=0, atol=6 * 2.0**-53 * np.abs(values).max())


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("Sigmoid", {}), ("Tanh", {}), ("Gelu", {}), ("Gelu", {"approximate": "tanh"}), ("Elu", {"alpha": 0.5}),
        ("Softplus", {}), ("HardSigmoid", {"alpha": 1 / 6}), ("HardSwish", {}), ("Softmax", {}),
    ],
)  # fmt: skip
def test_smooth_activations(kind, attributes):
    model = model_of([node(kind, ["x"], **attributes)], (25,))
    inputs = np.linspace(-6, 6, 25)[None]
    (expected,) = ReferenceEvaluator(model).run(None, {"x": inputs.astype(np.float32)})
    found = run_network(network_of_onnx(model), {}, inputs.astype(np.float32).astype(np.float64))
    # float32: a handful of operations, each within a few units in the last place of numbers up to 6
    np.testing.assert_allclose(found, expected, rtol=0, atol=6 * 16 * 2.0**-24)


def test_silu_as_exporters_write_it():
    network = network_of_onnx(model_of([node("Sigmoid", ["x"], "s"), node("Mul", ["s", "x"])], (3,)))
    last = next(one for one in network.nodes if one.name == network.output)
    assert (last.operation, last.inputs) == (Silu(), ("x",))


@pytest.mark.parametrize(
    ("nodes", "shape", "constants", "what"),
    [
        ([node("Erf", ["x"])], (3,), {}, "Erf"),
        ([node("Gemm", ["x", "w"], alpha=2.0)], (3,), {"w": whole(3, 3)}, "Gemm with alpha, beta or transA"),
        ([node("Gemm", ["x", ""])], (3,), {}, "Gemm without its input 1"),
        ([node("Mul", ["x", "x"])], (3,), {}, "Mul of two tensors"),
        ([node("Mul", ["x"])], (3,), {}, "Mul whose inputs are 1, not two"),
        ([node("Add", ["x"])], (3,), {}, "Add whose inputs are 1, not two"),
        ([node("Add", ["x", "x", "x"])], (3,), {}, "Add whose inputs are 3, not two"),
        ([node("MaxPool", ["x"])], (1, 4), {}, "MaxPool without kernel_shape"),
        ([node("AveragePool", ["x"])], (1, 4), {}, "AveragePool without kernel_shape"),
        ([node("Relu", ["x"], "a"), node("Concat", ["x", "a"])], (3,), {}, "Concat without axis"),
        ([node("Add", ["x", "c"])], (2, 3), {"c": whole(3)}, "Add of a constant that is none of one number for each channel"),
        (  # it is sent with the weights and may be cut, of which the network would know nothing
            [node("Mul", ["x", "c"])],
            (3, 2),
            {"c": whole(1, 3, 1)},
            "Mul of an initializer with two axes or more, which compression may cut",
        ),
        ([node("Clip", ["x", "c"])], (3,), {"c": np.array(1, np.float32)}, "Clip with one bound"),
        ([node("HardSigmoid", ["x"])], (3,), {}, "HardSigmoid with slope 0.2 and shift 0.5"),
        (
            [node("AveragePool", ["x"], kernel_shape=[2], pads=[1, 1])],
            (1, 4),
            {},
            "AveragePool that leaves its padding out of the mean",
        ),
        ([node("MaxPool", ["x"], kernel_shape=[2], auto_pad="SAME_UPPER")], (1, 4), {}, "MaxPool with auto_pad"),
        ([node("Reshape", ["x", "to"])], (4,), {"to": np.array([-1, 2])}, "Reshape to (-1, 2), which may mix samples"),
        ([node("Softmax", ["x"])], (2, 3), {}, "Softmax of more than a vector"),
        ([helper.make_node("Relu", ["x"], ["y"], domain="com.example")], (3,), {}, "com.example.Relu"),
    ],
)
def test_what_cannot_be_said_is_unbounded(nodes, shape, constants, what):
    assert network_of_onnx(model_of(nodes, shape, constants)).nodes[-1].operation == Unbounded(what)


def test_files(tmp_path):
    model = model_of([node("Gemm", ["x", "w"], transB=1)], (3,), {"w": whole(2, 3)})
    onnx.save(model, tmp_path / "model.onnx")
    assert network_of_onnx(tmp_path / "model.onnx") == network_of_onnx(model)
    assert np.array_equal(weights_of_onnx(str(tmp_path / "model.onnx"))["w"], weights_of_onnx(model)["w"])
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(SourceError, match="is no ONNX model"):
        network_of_onnx(tmp_path / "text.onnx")
    with pytest.raises(SourceError, match="cannot read"):
        network_of_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (model_of([node("Relu", ["x"])], ("any",)), "no fixed shape"),
        (model_of([node("Relu", ["x"], "y"), node("Relu", ["x"], "z")], (3,), outputs=("y", "z")), "has outputs y, z"),
    ],
)
def test_what_is_no_network_is_refused(model, told):
    with pytest.raises(UnderivableNetwork, match=told):
        network_of_onnx(model)
