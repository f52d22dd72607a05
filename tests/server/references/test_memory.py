"""A call by reference takes no more memory than is reserved for it: its ranges and parts have the place of frames."""

from collections.abc import Iterator

import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_server.references.reading import PIECE_BYTES, PIECES_AHEAD
from ellq_server.references.uploads import PART_BYTES, PARTS_AHEAD
from tests.server.process import Process
from tests.server.references.conftest import BUCKET
from tests.server.test_memory import reserved
from tests.server.wire import HALF, stream_of


@pytest.fixture
def process(s3) -> Iterator[Process]:
    with Process("--source-prefixes", f"s3://{BUCKET}/open", "--output-prefixes", f"s3://{BUCKET}/open") as started:
        yield started


def test_a_call_by_reference_takes_no_more_than_it_reserves(process: Process, s3) -> None:
    tensors = {str(number): np.full((1024, 1024), 1 + number, np.float32) for number in range(48)}
    stream = stream_of(tensors)
    assert len(stream) > 4 * (PIECES_AHEAD * PIECE_BYTES + (PARTS_AHEAD + 1) * PART_BYTES)  # much more than may be in flight

    def compress(content: bytes) -> None:
        s3.put_object(Bucket=BUCKET, Key="open/large.safetensors", Body=content)
        places = {"source_uri": f"s3://{BUCKET}/open/large.safetensors", "output_uri": f"s3://{BUCKET}/open/larger.safetensors"}
        process.caller.compress_frames(
            [pb.CompressRequest(options=pb.CompressOptions(rule=HALF, replace_output=True, **places))]
        )

    compress(stream_of({"w": np.ones((2, 2), np.float32)}))  # the library itself is no cost of a call
    before = process.peak_memory_bytes()
    compress(stream)
    single = stream_of({"0": tensors["0"]})  # one tensor after the other, so all take what one takes
    header = single[8 : 8 + int.from_bytes(single[:8], "little")]
    assert process.peak_memory_bytes() - before <= reserved(header, pb.AnalyzeOptions(rule=HALF))
