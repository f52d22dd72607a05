"""safetensors: shapes and numbers at the edges of what formats hold, and weights that somebody packed as integers."""

from functools import partial

import numpy as np

from ellq_client import NonfiniteWeight
from tests.corpus.cases import Case, Make, refused, works
from tests.corpus.headers import WEIGHT, weight, with_tensors

Tensor = tuple[str, tuple[int, ...], bytes]


def of(dtype: str, *shape: int, width: int) -> Tensor:
    """Return a tensor of random bits."""
    bits = np.random.default_rng(width).integers(0, 256, np.prod(shape, dtype=int) * width, np.uint8)
    return dtype, shape, bits.tobytes()


def filled(value: float, dtype: str = "F32") -> Make:
    """Return what writes a matrix of one number; BF16 as the upper half of its float32."""
    bits = np.full((4, 8), value, np.float32)
    data = bits.tobytes() if dtype == "F32" else (bits.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return with_tensors({"w": (dtype, (4, 8), data)})


def with_value(value: float) -> Make:
    """Return what writes a matrix in which the weight at index 3 is this."""
    bits = WEIGHT.copy()
    bits.flat[3] = value
    return with_tensors({"w": ("BF16", (4, 8), (bits.view(np.uint32) >> 16).astype(np.uint16).tobytes())})


def half_scales(*shape: int) -> Tensor:
    """Return scales, as quantised weights have them."""
    return "F16", shape, np.full(shape, 0.01, np.float16).tobytes()


fine, bad = partial(works, "m.safetensors"), partial(refused, "m.safetensors")

SHAPES = {
    "tensor without elements": fine(with_tensors({"none": ("F32", (0, 4), b""), "w": weight()}), "w"),
    "every tensor without elements": fine(with_tensors({"a": ("F32", (0,), b""), "b": ("BF16", (3, 0, 2), b"")})),
    "scalar": fine(with_tensors({"scale": ("F32", (), b"\0\0\0@"), "w": weight()}), "w"),
    "nothing but vectors": fine(with_tensors({"gamma": weight(WEIGHT[0]), "beta": weight(WEIGHT[1])})),
    "one weight": fine(with_tensors({"w": weight(WEIGHT[:1, :1])}), "w"),
    "rows of one weight": fine(with_tensors({"w": weight(WEIGHT.reshape(32, 1))}), "w"),
    "32 axes": fine(with_tensors({"w": weight(WEIGHT.reshape(4, *[1] * 30, 8))}), "w"),
}

NUMBERS = {
    "all zero": fine(filled(0.0), "w"),
    "all minus zero": fine(filled(-0.0), "w"),
    "all equal": fine(filled(0.7), "w"),
    "all denormal": fine(filled(1e-41), "w"),
    "all denormal, BF16": fine(filled(1e-39, "BF16"), "w"),
    "all the largest": fine(filled(float(np.finfo(np.float32).max)), "w"),
    "all the largest, BF16": fine(filled(3.3895313892515355e38, "BF16"), "w"),
    "largest beside smallest": fine(with_value(3e38), "w"),
    "NaN": bad(with_value(np.nan), "'w'.*3", error=NonfiniteWeight, reason="NONFINITE_WEIGHT"),
    "infinity": bad(with_value(-np.inf), "'w'.*3", error=NonfiniteWeight, reason="NONFINITE_WEIGHT"),
    "NaN let through": fine(with_value(np.nan), nonfinite="pass_through"),
}

DTYPES: dict[str, Case] = {
    "whole numbers and truth": fine(
        with_tensors(
            {
                **{f"I{8 * width}": of(f"I{8 * width}", 4, 4, width=width) for width in (1, 2, 4, 8)},
                **{f"U{8 * width}": of(f"U{8 * width}", 4, 4, width=width) for width in (1, 2, 4, 8)},
                "mask": ("BOOL", (2, 2), b"\0\1\1\0"),
                "w": weight(),
            }
        ),
        "w",
    ),
    "complex": fine(with_tensors({"c": of("C64", 2, 2, width=8), "w": weight()}), "w"),
    "floats below eight bits": fine(
        with_tensors({"f4": ("F4", (4, 4), bytes(8)), "f6": ("F6_E2M3", (4, 4), bytes(12)), "w": weight()}),
        "w",
    ),
    "scales that are exponents": fine(with_tensors({"s": of("F8_E8M0", 4, 4, width=1), "w": weight()}), "w"),
}

CASES = {**SHAPES, **NUMBERS, **DTYPES}
