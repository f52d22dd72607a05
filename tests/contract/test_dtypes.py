"""Every dtype of the installed safetensors library is known to both sides: compressed, or passed through by name."""

import json
import re

import pytest
import safetensors
from safetensors import SafetensorError

from ellq.v1 import compression_pb2 as pb
from ellq_client import arrays, checkpoint
from ellq_server import header
from ellq_server.planning import COMPRESSIBLE_DTYPES
from tests.server.wire import Caller, with_header


def stream_of(dtype: str, *, length: int) -> bytes:
    text = json.dumps({"w": {"dtype": dtype, "shape": [4, 2], "data_offsets": [0, length]}}).encode()
    return with_header(text, bytes(length))


def library_dtypes() -> list[str]:
    """Return the dtypes that the library knows, which it tells when it is shown another, narrow ones first."""
    with pytest.raises(SafetensorError) as caught:
        safetensors.deserialize(stream_of("none", length=0))
    return re.findall(r"`(\w+)`", str(caught.value).partition("expected one of")[2])


def test_both_sides_know_the_dtypes_of_the_library() -> None:
    assert sorted(header.DTYPE_BITS) == sorted(checkpoint.DTYPE_BITS) == sorted(library_dtypes())
    assert header.DTYPE_BITS == checkpoint.DTYPE_BITS


def test_arrays_are_put_into_a_file_in_the_order_of_the_library() -> None:
    known = list(arrays.SAFETENSORS_DTYPES.values())
    assert known == [dtype for dtype in reversed(library_dtypes()) if dtype in known]


@pytest.mark.parametrize("dtype", header.DTYPE_BITS)
def test_lengths_are_those_of_the_library(dtype: str) -> None:
    safetensors.deserialize(
        stream_of(dtype, length=header.DTYPE_BITS[dtype])
    )  # eight of them are as many bytes as one has bits


@pytest.mark.parametrize("dtype", header.DTYPE_BITS)
def test_what_is_not_compressed_passes_through_with_that_reason(caller: Caller, dtype: str) -> None:
    stream = stream_of(dtype, length=header.DTYPE_BITS[dtype])
    answer = caller.compress(stream)
    compressed = dtype in COMPRESSIBLE_DTYPES
    assert answer.data == stream
    assert answer.reports["w"].reason == (0 if compressed else pb.PASS_THROUGH_REASON_DTYPE)
