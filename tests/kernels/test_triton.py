"""The GPU maker without a GPU: its results by Triton's interpreter, its instructions by Triton's compiler."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from ellq_kernels import make_kernels
from ellq_kernels.triton.choosing import choose_in_registers
from ellq_kernels.triton.cutting import cut_chunks
from ellq_kernels.triton.histograms import count_digits
from ellq_kernels.triton.layout import Span, lay_out
from ellq_kernels.triton.measuring import measure_chunks
from ellq_kernels.triton.reading import infinity_key
from ellq_kernels.triton.selecting import warps_of

from .conftest import INTERPRETED

HOPPER = GPUTarget("cuda", 90, 32)

POINTERS = {"weights": "*i16", "keys": "*i16"} | dict.fromkeys(
    ("tiles", "cuts", "above", "end", "largest", "wanted", "kept", "ties", "ends"), "*i64"
)
SUMMED = dict.fromkeys(("scales", "tables", "columns"), "*fp64")
NUMBERS = dict.fromkeys(("rows", "stretches", "steps", "count", "bins"), "i32")
TYPES = POINTERS | SUMMED | NUMBERS | {"counts": "*i64", "wanted": "*i64"}

TILE = {"ROWS": 64, "ALIGNMENT": 8}
CUT = TILE | {"KEY_DTYPE": "", "KEY_ALIGNMENT": 8, "GROUPED": False, "PLACE": triton.language.int32, "WRITE": True}
ROOTS = TILE | {"DTYPE": "BF16", "KINDS": ("folded root", "itself"), "ROOT": 0}
SERIES = TILE | {"DTYPE": "F32", "KINDS": ("series",), "ROOT": -1}
DIGITS = {"P": 2, "SHIFT": 45, "DIGIT": 18, "COPIES": 4, "BLOCK": 1024}

compiled_only = pytest.mark.skipif(INTERPRETED, reason="this process interprets kernels")


def test_interpreted_kernels_give_the_bits_of_the_definition() -> None:
    """In a process of its own, because Triton decides at import whether it compiles."""
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).with_name("interpreted.py"))]
    found = subprocess.run(program, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-5000:]


@pytest.fixture
def instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Compile for an H100 and disassemble; no card is needed for that."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    def compile_kernel(kernel: JITFunction, constants: dict[str, Any], *, fusion: bool, num_warps: int = 4) -> str:
        names = [parameter.name for parameter in kernel.params]
        signature = {name: TYPES.get(name, "constexpr") for name in names}
        if constants["DTYPE"] == "F32":
            signature["weights"] = "*i32"
        aligned = {(place,): [["tt.divisibility", 16]] for place, name in enumerate(names) if signature[name][0] == "*"}
        source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
        compiled = triton.compile(source, target=HOPPER, options={"enable_fp_fusion": fusion, "num_warps": num_warps})
        binary = tmp_path / "kernel.cubin"
        binary.write_bytes(compiled.asm["cubin"])
        program = [knobs.nvidia.nvdisasm.path, "-c", str(binary)]
        return subprocess.run(program, check=True, capture_output=True, text=True).stdout

    return compile_kernel


@compiled_only
@pytest.mark.parametrize(
    ("kernel", "constants"),
    [
        (measure_chunks, TILE | {"DTYPE": "BF16", "KINDS": ("lookup", "itself", "square"), "ROOT": -1}),
        (measure_chunks, ROOTS),
        (measure_chunks, SERIES),
        (cut_chunks, CUT | {"DTYPE": "BF16"}),
        (count_digits, DIGITS | {"DTYPE": "F32"}),
    ],
    ids=["sums", "roots", "series", "tails", "units"],
)
def test_no_product_is_fused_with_a_sum(
    instructions: Callable[..., str], kernel: JITFunction, constants: dict[str, Any]
) -> None:
    assert "DFMA" not in instructions(kernel, constants, fusion=False)


@compiled_only
def test_products_would_be_fused_if_they_were_allowed_to(instructions: Callable[..., str]) -> None:
    assert "DFMA" in instructions(measure_chunks, SERIES, fusion=True)


@compiled_only
def test_roots_are_looked_up_in_shared_memory(instructions: Callable[..., str]) -> None:
    found = instructions(measure_chunks, ROOTS, fusion=False)
    assert "LDS.64" in found
    assert "MUFU.RSQ64H" not in found


@compiled_only
@pytest.mark.parametrize("width", [1, 16, 256, 512, 2048, 8192, 16384])
def test_groups_stay_in_registers(instructions: Callable[..., str], width: int) -> None:
    """With Triton 3.6, too, some narrow ones did not even compile."""
    constants = {"DTYPE": "BF16", "ROWS": max(2048 // width, 1), "WIDTH": width, "WITHIN": False, "ALIGNMENT": 8}
    constants |= {"NOTHING": infinity_key("BF16")}
    found = instructions(choose_in_registers, constants, fusion=False, num_warps=warps_of(width, wide=False))
    assert "STL" not in found  # a store to local memory, where registers are too few


@compiled_only
def test_aligned_rows_are_read_and_written_sixteen_bytes_at_a_time(instructions: Callable[..., str]) -> None:
    widths = {
        alignment: re.findall(r"\b(?:LDG|STG)\.E\.(?:128|U16)", instructions(cut_chunks, constants, fusion=False))
        for alignment, constants in ((8, CUT | {"DTYPE": "BF16"}), (1, CUT | {"DTYPE": "BF16", "ALIGNMENT": 1}))
    }
    assert set(widths[8]) == {"LDG.E.128", "STG.E.128"}
    assert set(widths[1]) == {"LDG.E.U16", "STG.E.U16"}


def test_places_beyond_two_to_the_31_are_not_cut_short() -> None:
    huge = Span(source=2**33, neurons=2**12, fan_in=2**20, width=2**20)
    layout = lay_out([huge, huge], per_tile=64, device=torch.device("cpu"))
    assert layout.tiles[-1].tolist() == [2**33, 2**20, 2**20, 1, 2**12 - 64, 2**12, 2**12, 2**12]
    assert len(layout.tiles) == 2 * 2**12 // 64
    assert layout.alignment == 8


@pytest.mark.parametrize(("fan_in", "expected"), [(8, 8), (12, 4), (9, 1)])
def test_alignment_is_that_of_the_worst_row(fan_in: int, expected: int) -> None:
    spans = [Span(source=0, neurons=3, fan_in=fan_in, width=1024), Span(source=64, neurons=1, fan_in=1024, width=1024)]
    assert lay_out(spans, per_tile=16, device=torch.device("cpu")).alignment == expected


@compiled_only
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_there_are_no_kernels() -> None:
    with pytest.raises(RuntimeError, match="triton kernels need a CUDA device, and torch sees none"):
        make_kernels("triton")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_bytes_travel_in_halves_of_the_staging_memory() -> None:
    """Three and a half of them, so that each is used again."""
    payload = np.random.default_rng(0).integers(0, 2**16, 7 << 21, dtype=np.uint16)
    kernels = make_kernels("triton")
    weights = kernels.load(bytearray(payload.tobytes()), dtype="BF16", neurons=7, fan_in=1 << 21)
    assert kernels.payload(weights) == payload.tobytes()
