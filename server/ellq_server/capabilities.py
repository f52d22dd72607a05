"""What a server says of itself: its limits, where it computes, and what it reads, does and writes."""

from ellq.v1 import compression_pb2 as pb
from ellq.v1.safetensors import COMPRESSIBLE_DTYPES
from ellq_server import __version__
from ellq_server.call import House
from ellq_server.references.doors import Doors


def capabilities_of(house: House, doors: Doors) -> pb.GetCapabilitiesResponse:
    """Return the answer to GetCapabilities."""
    limits = house.limits
    return pb.GetCapabilitiesResponse(
        version=__version__,
        limits=pb.Limits(
            header_bytes=limits.header_bytes,
            tensors=limits.tensors,
            tensor_bytes=limits.tensor_bytes,
            payload_bytes=limits.payload_bytes,
            pooled_payload_bytes=limits.pooled_payload_bytes,
            concurrent_calls=limits.concurrent_calls,
            moments_bytes=limits.moments_bytes,
            network_work=limits.network_work,
        ),
        device=pb.Device(kind=house.kernels.device, kernels=house.kernels.name),
        dtypes=COMPRESSIBLE_DTYPES,
        rules=[field.name for field in pb.Rule.DESCRIPTOR.oneofs_by_name["kind"].fields],
        scopes=[pb.SCOPE_NEURON, pb.SCOPE_LAYER, pb.SCOPE_GLOBAL],
        encodings=[pb.ENCODING_DENSE],
        deliveries=[pb.DELIVERY_WHOLE, pb.DELIVERY_MASK],
        source_schemes=doors.sources.schemes,
        output_schemes=doors.outputs.schemes,
    )
