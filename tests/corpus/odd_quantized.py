"""Weights that somebody quantised before: codes, scales, zero points and tables come back as they were, the rest compressed."""

from functools import partial

import numpy as np

from tests.corpus.cases import Case, works
from tests.corpus.headers import weight, with_tensors

fine = partial(works, "m.safetensors")

Tensor = tuple[str, tuple[int, ...], bytes]
_WIDTHS = {"I32": 4, "U8": 1, "I8": 1, "F8_E4M3": 1}


def codes(dtype: str, *shape: int) -> Tensor:
    """Return integers, or floats of eight bits, of which none is NaN."""
    random = np.random.default_rng(len(shape) + sum(shape))
    return dtype, shape, random.integers(0, 120, (*shape, _WIDTHS[dtype]), np.uint8).tobytes()


def scales(*shape: int, dtype: str = "F16") -> Tensor:
    """Return positive numbers, no two of them the same, so that a rule would cut some."""
    kind = np.float16 if dtype == "F16" else np.float32
    return dtype, shape, (0.01 + np.arange(np.prod(shape)) / 1000).astype(kind).tobytes()


GPTQ: dict[str, Tensor] = {
    "layer.g_idx": codes("I32", 32),
    "layer.qweight": codes("I32", 4, 16),
    "layer.qzeros": codes("I32", 2, 2),
    "layer.scales": scales(2, 16),
}
AWQ: dict[str, Tensor] = {
    "layer.qweight": codes("I32", 16, 4),
    "layer.qzeros": codes("I32", 2, 4),
    "layer.scales": scales(2, 32),
}
NF4: dict[str, Tensor] = {
    "layer.weight": codes("U8", 128, 1),
    "layer.weight.absmax": codes("U8", 4),
    "layer.weight.nested_absmax": scales(1, dtype="F32"),
    "layer.weight.nested_quant_map": scales(256, dtype="F32"),
    "layer.weight.quant_map": scales(16, dtype="F32"),
    "layer.weight.quant_state.bitsandbytes__nf4": codes("U8", 60),
}
INT8: dict[str, Tensor] = {"layer.SCB": scales(8, dtype="F32"), "layer.weight": codes("I8", 8, 16)}
FLOAT8: dict[str, Tensor] = {"layer.weight_scale": scales(8, 1, dtype="F32"), "layer.weight": codes("F8_E4M3", 8, 16)}
MXFP4: dict[str, Tensor] = {"experts.up_blocks": codes("U8", 2, 8, 16), "experts.up_scales": codes("U8", 2, 8)}

CASES: dict[str, Case] = {
    "GPTQ": fine(with_tensors({**GPTQ, "head.weight": weight()}), "head.weight"),
    "AWQ": fine(with_tensors({**AWQ, "head.weight": weight()}), "head.weight"),
    "bitsandbytes, four bits": fine(with_tensors({**NF4, "head.weight": weight()}), "head.weight"),
    "bitsandbytes, eight bits": fine(with_tensors({**INT8, "head.weight": weight()}), "head.weight"),
    "floats of eight bits with scales": fine(with_tensors({**FLOAT8, "head.weight": weight()}), "head.weight", "layer.weight"),
    "floats of eight bits before their scales": fine(
        with_tensors({**dict(reversed(FLOAT8.items())), "head.weight": weight()}), "head.weight"
    ),
    "blocks of MXFP4": fine(with_tensors({**MXFP4, "head.weight": weight()}), "head.weight"),
    "nothing but codes": fine(with_tensors(GPTQ)),
}
