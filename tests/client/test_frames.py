"""The short cut around the protobuf parser gives what the parser gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import ANALYZE_REQUEST, COMPRESS_REQUEST, COMPRESS_RESPONSE, Codec
from ellq_client.frames import read_compression, write_request

LENGTHS = [1, 127, 128, 16383, 16384, 1 << 20, (1 << 21) + 5]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("request_type", [pb.AnalyzeRequest, pb.CompressRequest])
def test_data_is_written_as_the_generated_code_writes_it(length, request_type):
    data = bytes(length)
    assert write_request(memoryview(data)) == request_type(data=data).SerializeToString()


@pytest.mark.parametrize("length", LENGTHS)
def test_data_is_read_as_the_generated_code_reads_it(length):
    data = bytes(length)
    assert bytes(read_compression(pb.CompressResponse(data=data).SerializeToString())) == data


def test_other_frames_are_messages():
    frame = pb.CompressResponse(summary=pb.Summary(tensors=3))
    assert read_compression(frame.SerializeToString()) == frame
    assert write_request(pb.CompressRequest(options=pb.CompressOptions(ignore_zeros=True)))


def test_data_in_another_layout_is_read_all_the_same():
    unknown_field = b"\x78\x01"  # field 15, from a newer contract
    for serialized in (
        pb.CompressResponse(data=b"abc").SerializeToString() + unknown_field,
        unknown_field + pb.CompressResponse(data=b"abc").SerializeToString(),
        b"\x32\x83\x80\x00abc",  # a length with more digits than it needs
    ):
        assert bytes(read_compression(serialized)) == b"abc"


@given(st.binary(max_size=20))
def test_whatever_comes_is_read_as_the_generated_code_reads_it(serialized):
    try:
        expected = pb.CompressResponse.FromString(serialized)
    except Exception as error:  # whatever the generated code raises
        with pytest.raises(type(error)):
            read_compression(serialized)
        return
    frame = read_compression(serialized)
    assert (bytes(frame) if isinstance(frame, memoryview) else frame) == (
        expected.data if expected.WhichOneof("frame") == "data" else expected
    )


@pytest.mark.parametrize("codec", [ANALYZE_REQUEST, COMPRESS_REQUEST, COMPRESS_RESPONSE])
@pytest.mark.parametrize("length", LENGTHS)
def test_what_a_codec_writes_it_reads_and_so_does_the_generated_code(codec, length):
    written = codec.write(bytes(length))
    assert bytes(codec.read(written)) == bytes(length)
    kind = {ANALYZE_REQUEST: pb.AnalyzeRequest, COMPRESS_REQUEST: pb.CompressRequest}.get(codec, pb.CompressResponse)
    assert kind.FromString(written) == kind(data=bytes(length))


class Unparsed:
    """A message that must not reach the generated code."""

    DESCRIPTOR = pb.CompressResponse.DESCRIPTOR

    @staticmethod
    def FromString(serialized):  # noqa: N802
        raise AssertionError("parsed")


@pytest.mark.parametrize("length", LENGTHS)
def test_data_goes_around_the_parser(length):
    serialized = pb.CompressResponse(data=bytes(length)).SerializeToString()
    assert bytes(Codec(Unparsed).read(serialized)) == bytes(length)
    with pytest.raises(AssertionError, match="parsed"):
        Codec(Unparsed).read(serialized + b"\0")


def test_a_codec_writes_messages_as_the_generated_code_does():
    frame = pb.CompressRequest(options=pb.CompressOptions(ignore_zeros=True))
    assert COMPRESS_REQUEST.write(frame) == frame.SerializeToString()
