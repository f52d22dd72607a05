"""Every dtype of the installed safetensors library is known to both sides: compressed, or passed through by name."""

import json
import re

import pytest
import safetensors
from safetensors import SafetensorError

from ellq.v1 import compression_pb2 as pb
from ellq.v1.safetensors import COMPRESSIBLE_DTYPES, DTYPE_BITS, FLOAT8
from ellq_client import arrays
from ellq_math.dtypes import WEIGHT_DTYPES
from ellq_math.float8 import MANTISSA_BITS
from tests.server.wire import Caller, with_header


def stream_of(dtype: str, *, length: int) -> bytes:
    text = json.dumps({"w": {"dtype": dtype, "shape": [4, 2], "data_offsets": [0, length]}}).encode()
    return with_header(text, bytes(length))


def library_dtypes() -> list[str]:
    """Return the dtypes that the library knows, which it tells when it is shown another, narrow ones first."""
    with pytest.raises(SafetensorError) as caught:
        safetensors.deserialize(stream_of("none", length=0))
    return re.findall(r"`(\w+)`", str(caught.value).partition("expected one of")[2])


def test_all_dtypes_of_the_library_are_known() -> None:
    assert sorted(DTYPE_BITS) == sorted(library_dtypes())


def test_what_is_weights_is_what_the_math_can_read() -> None:
    """The math may not import the contract, and says it once more."""
    assert tuple(MANTISSA_BITS) == FLOAT8
    assert (*WEIGHT_DTYPES, *MANTISSA_BITS) == COMPRESSIBLE_DTYPES
    assert all(DTYPE_BITS[name] == 8 * dtype.itemsize for name, dtype in WEIGHT_DTYPES.items())


def test_arrays_are_put_into_a_file_in_the_order_of_the_library() -> None:
    known = list(arrays.SAFETENSORS_DTYPES.values())
    assert known == [dtype for dtype in reversed(library_dtypes()) if dtype in known]


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_lengths_are_those_of_the_library(dtype: str) -> None:
    safetensors.deserialize(stream_of(dtype, length=DTYPE_BITS[dtype]))  # eight are as many bytes as one has bits


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_what_is_not_compressed_passes_through_with_that_reason(caller: Caller, dtype: str) -> None:
    stream = stream_of(dtype, length=DTYPE_BITS[dtype])
    answer = caller.compress(stream)
    compressed = dtype in COMPRESSIBLE_DTYPES
    assert answer.data == stream
    assert answer.reports["w"].reason == (0 if compressed else pb.PASS_THROUGH_REASON_DTYPE)
