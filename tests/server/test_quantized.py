"""Quantised layers pass through byte for byte, whatever anybody asks; what only looks like one is compressed as ever."""

import math

import ml_dtypes
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from tests.server.wire import HALF, Caller, stream_of

QUANTIZED = pb.PASS_THROUGH_REASON_QUANTIZED
WIDTHS = {
    "I64": np.int64, "I32": np.int32, "U32": np.uint32, "I16": np.int16, "I8": np.int8, "U8": np.uint8,
    "F32": np.float32, "F16": np.float16,
    "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}  # fmt: skip
LAYER = "model.layers.0.mlp.up_proj"

Parts = dict[str, tuple[str, tuple[int, ...]]]

LAYOUTS: dict[str, tuple[str, Parts]] = {
    "GPTQ": (
        "GPTQ",
        {"qweight": ("I32", (8, 32)), "qzeros": ("I32", (2, 4)), "scales": ("F16", (2, 32)), "g_idx": ("I32", (64,))},
    ),
    "GPTQ without zero points": (
        "GPTQ", {"qweight": ("I32", (8, 32)), "scales": ("BF16", (2, 32)), "g_idx": ("I32", (64,))},
    ),
    "GPTQ without order": (
        "GPTQ", {"qweight": ("I32", (8, 32)), "qzeros": ("I32", (2, 4)), "scales": ("F16", (2, 32))},
    ),
    "GPTQ of 8 bits without order": (
        "GPTQ", {"qweight": ("I32", (16, 32)), "qzeros": ("I32", (2, 8)), "scales": ("F16", (2, 32))},
    ),
    "AWQ": ("AWQ", {"qweight": ("I32", (64, 4)), "qzeros": ("I32", (2, 4)), "scales": ("F16", (2, 32))}),
    "pack-quantized": (
        "compressed-tensors",
        {
            "weight_packed": ("I32", (32, 8)), "weight_scale": ("BF16", (32, 2)), "weight_zero_point": ("I32", (4, 2)),
            "weight_shape": ("I64", (2,)), "weight_g_idx": ("I32", (64,)),
        },
    ),
    "nvfp4-pack-quantized": (
        "compressed-tensors",
        {
            "weight_packed": ("U8", (32, 32)), "weight_scale": ("F8_E4M3", (32, 4)), "weight_global_scale": ("F32", (1,)),
            "input_global_scale": ("F32", (1,)),
        },
    ),
    "nf4": (
        "bitsandbytes 4-bit",
        {
            "weight": ("U8", (1024, 1)), "weight.absmax": ("U8", (32,)), "weight.quant_map": ("F32", (16,)),
            "weight.nested_absmax": ("F32", (1,)), "weight.nested_quant_map": ("F32", (256,)),
            "weight.quant_state.bitsandbytes__nf4": ("U8", (80,)),
        },
    ),
    "LLM.int8": ("bitsandbytes int8", {"weight": ("I8", (32, 64)), "SCB": ("F32", (32,)), "weight_format": ("U8", ())}),
    "modelopt": (
        "NVFP4",
        {
            "weight": ("U8", (32, 32)), "weight_scale": ("F8_E4M3", (32, 4)), "weight_scale_2": ("F32", ()),
            "input_scale": ("F32", ()),
        },
    ),
    "int-quantized": ("integers with scales", {"weight": ("I8", (32, 64)), "weight_scale": ("BF16", (32, 1))}),
    "bytes with powers of two": ("integers with scales", {"weight": ("I8", (32, 32)), "scale": ("F8_E8M0", (32, 2))}),
    "hqq": ("HQQ", {"W_q": ("U8", (16, 64)), "scale": ("F16", (32, 1)), "zero": ("F16", (32, 1))}),
    "aqlm": (
        "AQLM",
        {"codes": ("I8", (32, 8, 1)), "codebooks": ("F16", (1, 16, 1, 8)), "scales": ("F16", (32, 1, 1, 1))},
    ),
    "marlin": ("Marlin", {"B": ("I32", (4, 64)), "s": ("F16", (2, 32)), "workspace": ("I32", (16,))}),
    "mlx": ("MLX", {"weight": ("U32", (32, 8)), "scales": ("F16", (32, 2)), "biases": ("F16", (32, 2))}),
    "quanto qint4": (
        "unknown layout",
        {"weight._data._data": ("U8", (16, 64)), "weight._scale": ("BF16", (32, 2)), "weight._shift": ("BF16", (32, 2))},
    ),
    "int4_awq of TensorRT": (
        "unknown layout", {"weight": ("I8", (32, 32)), "weights_scaling_factor": ("F16", (4, 32)), "zero": ("F16", (4, 32))},
    ),
    "higgs": ("unknown layout", {"qweight": ("I16", (32, 32)), "scales": ("F16", (32, 2)), "tables": ("F16", (16, 2))}),
    "vptq": (
        "unknown layout",
        {"indices": ("I32", (1, 32, 8)), "centroids.weight": ("F16", (16, 32)), "weight_scale": ("F16", (1, 64))},
    ),
    "hqq with meta": (
        "unknown layout", {"W_q": ("U8", (16, 64)), "meta.scale": ("F16", (32, 1)), "meta.zero": ("F16", (32, 1))},
    ),
    "quanto": ("unknown layout", {"weight._data": ("I8", (32, 64)), "weight._scale": ("F16", (32, 1))}),
    "of tomorrow": ("unknown layout", {"weight_trits": ("U8", (32, 16)), "group_scales": ("BF16", (32, 4))}),
}  # fmt: skip


def parts_of(layer: str, parts: Parts, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for name, (dtype, shape) in parts.items():
        kind = WIDTHS[dtype]
        raw = rng.integers(0, 100, math.prod(shape) * np.dtype(kind).itemsize).astype(np.uint8)
        found[f"{layer}.{name}"] = raw.view(kind).reshape(shape)
    return found


def ordinary(name: str = "norm.gate.weight") -> dict[str, np.ndarray]:
    return {name: np.random.default_rng(1).normal(size=(16, 32)).astype(np.float32)}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_quantised_layer_passes_through_whatever_is_asked(caller: Caller, case: str) -> None:
    layout, parts = LAYOUTS[case]
    quantised = parts_of(LAYER, parts)
    stream = stream_of(quantised | ordinary())
    everything = pb.Selection(include=["*"], overrides=[pb.TensorOverride(glob="*", rule=HALF)])
    answer = caller.compress(stream, selection=everything)
    size = ordinary()["norm.gate.weight"].nbytes
    assert answer.data[:-size] == stream[:-size]
    assert answer.data[-size:] != stream[-size:]
    assert {answer.plans[name].reason for name in quantised} == {QUANTIZED}
    assert {answer.reports[name].reason for name in quantised} == {QUANTIZED}
    [warning] = answer.summary.warnings
    assert (warning.code, warning.subject) == (pb.WARNING_CODE_QUANTIZED_PASSED_THROUGH, layout)
    assert warning.text.startswith("1 quantised layer ")


def test_mxfp4_experts_pass_through_and_their_biases_do_not(caller: Caller) -> None:
    experts = "model.layers.0.mlp.experts"
    parts: Parts = {"gate_up_proj_blocks": ("U8", (2, 8, 1, 16)), "gate_up_proj_scales": ("U8", (2, 8, 1))}
    bias = {f"{experts}.gate_up_proj_bias": np.ones((2, 8), np.float32)}
    answer = caller.compress(stream_of(parts_of(experts, parts) | bias))
    assert [one.reason for one in answer.reports.values()] == [QUANTIZED, QUANTIZED, 0]
    assert [one.subject for one in answer.summary.warnings] == ["MXFP4"]


def test_layers_are_counted_by_layout(caller: Caller) -> None:
    tensors = ordinary()
    for place in range(3):
        tensors |= parts_of(f"{place}.up", LAYOUTS["GPTQ"][1]) | parts_of(f"{place}.down", LAYOUTS["LLM.int8"][1])
    told = {one.subject: one.text for one in caller.compress(stream_of(tensors)).summary.warnings}
    assert told.keys() == {"GPTQ", "bitsandbytes int8"}
    assert all(text.startswith("3 quantised layers ") for text in told.values())


def test_names_at_the_root_of_a_stream_are_known_too(caller: Caller) -> None:
    parts = {name.removeprefix("x."): one for name, one in parts_of("x", LAYOUTS["AWQ"][1]).items()}
    assert {one.reason for one in caller.compress(stream_of(parts)).reports.values()} == {QUANTIZED}


@pytest.mark.parametrize(
    "name",
    ["scales", "style.scales", "x.scale", "x.zero", "x.codebooks", "x.qweight", "x.absmax", "x.W_q", "x.blocks"],
)
def test_a_layer_that_is_only_called_so_is_compressed(caller: Caller, name: str) -> None:
    stream = stream_of(ordinary(name))
    answer = caller.compress(stream)
    assert answer.reports[name].treatment == pb.TREATMENT_COMPRESS
    assert answer.data != stream
    assert not answer.summary.warnings


def test_integers_without_their_scales_are_integers(caller: Caller) -> None:
    answer = caller.compress(stream_of({"x.qweight": np.ones((4, 4), np.int32)} | ordinary("y.scales")))
    assert [one.reason for one in answer.reports.values()] == [pb.PASS_THROUGH_REASON_DTYPE, 0]


def test_positions_beside_a_table_are_no_codes(caller: Caller) -> None:
    """As in windowed attention: the index of relative positions, and a table of biases for them."""
    attention = {"attn.relative_position_index": np.ones((4, 4), np.int64)} | ordinary("attn.bias_table")
    answer = caller.compress(stream_of(attention))
    assert answer.reports["attn.bias_table"].treatment == pb.TREATMENT_COMPRESS
    assert not answer.summary.warnings


@pytest.mark.parametrize("name", ["experts.gate_up_proj_scale", "a.weight_scales", "x_scales", "a.weights_scaling_factor"])
def test_what_is_called_like_the_scale_of_something_is_no_weight(caller: Caller, name: str) -> None:
    """Its codes can be in another shard."""
    answer = caller.compress(stream_of(ordinary(name)))
    assert answer.reports[name].reason == pb.PASS_THROUGH_REASON_SCALE


def test_scales_of_an_unknown_layout_are_known_beside_whole_layers(caller: Caller) -> None:
    whole = parts_of("a", {"qweight": ("I32", (8, 32)), "scales": ("F16", (2, 32))})
    stream = stream_of(whole | ordinary("b.scales"))
    assert caller.compress(stream).data == stream


def test_scales_whose_codes_are_in_another_shard_pass_through_beside_whole_layers(caller: Caller) -> None:
    """Shards are cut by size, so that the tensors of one layer can lie in two of them."""
    whole, cut = parts_of("a", LAYOUTS["GPTQ"][1]), parts_of("b", LAYOUTS["GPTQ"][1])
    del cut["b.qweight"], cut["b.g_idx"]
    stream = stream_of(whole | cut)
    answer = caller.compress(stream)
    assert answer.data == stream
    assert answer.reports["b.scales"].reason == QUANTIZED


def test_quantised_and_8_bit_layers_of_one_stream_are_told_apart(caller: Caller) -> None:
    """Both have a weight_scale: of one it is part of the codes, of the other a factor."""
    eight = {
        "b.weight_scale": np.full((4, 1), 0.5, np.float32),
        "b.weight": np.arange(1, 33).reshape(4, 8).astype(ml_dtypes.float8_e4m3fn),
    }
    answer = caller.compress(stream_of(parts_of("a", LAYOUTS["nvfp4-pack-quantized"][1]) | eight))
    assert answer.reports["a.weight_scale"].reason == QUANTIZED
    assert answer.reports["b.weight_scale"].reason == pb.PASS_THROUGH_REASON_SCALE
    assert answer.reports["b.weight"].measurement.max_magnitude == 16


def test_codes_take_the_scales_of_their_layer_along_beside_8_bit_weights(caller: Caller) -> None:
    """Only a zero point is no code there: integers of another name are, and what is called like their scale is not cut."""
    mixed = parts_of("a", {"one_codes": ("I8", (8, 16)), "one_scale": ("F32", (8, 1)), "two": ("F8_E4M3", (8, 16))})
    answer = caller.compress(stream_of(mixed))
    assert {answer.reports[name].reason for name in ("a.one_codes", "a.one_scale")} == {QUANTIZED}
    assert answer.summary.warnings[0].subject == "unknown layout"
