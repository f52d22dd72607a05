"""How to reach a server: its address and the settings of the road."""

import json
import os
import re
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from ellq.v1 import compression_pb2 as pb
from ellq_client.actions import Method
from ellq_client.frames import read_analysis, read_compression, write_request

SERVER_VARIABLE = "ELLQ_SERVER"

OPTIONS = (
    # Every replica behind a name gets its share of calls.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.enable_retries", 0),  # gRPC cannot replay an upload; this package can
    ("grpc.keepalive_time_ms", 30_000),  # the least that servers put up with
    ("grpc.keepalive_timeout_ms", 20_000),
)

_SCHEME = re.compile(r"^(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):")
_HOST_AND_PORT = re.compile(r"^(\[[0-9A-Fa-f:.%]+\]|[^\s/:]+):\d{1,5}$")


def server_address(target: str | None) -> str | None:
    """Return the gRPC address of a server: as given, else as ELLQ_SERVER says; None means the one in this process.

    Errors: ValueError when it is neither host:port nor a gRPC address.
    """
    target = target or os.environ.get(SERVER_VARIABLE) or None
    if target is None or _SCHEME.match(target):
        return target
    if _HOST_AND_PORT.match(target):
        return f"dns:///{target}"
    raise ValueError(f"server {target!r} is neither host:port nor an address like dns:///host:port or unix:/path")


def open_methods(channel: grpc.Channel | grpc.aio.Channel) -> dict[Method, Callable[..., Any]]:
    """Return what starts each call on a channel; called with an iterable of request frames and a timeout."""
    readers: dict[Method, Callable[[bytes], Any]] = {
        "Analyze": read_analysis,
        "Compress": read_compression,
        "GetCapabilities": pb.GetCapabilitiesResponse.FromString,
    }
    return {
        method: channel.stream_stream(
            f"/ellq.v1.CompressionService/{method}", request_serializer=write_request, response_deserializer=reader
        )
        for method, reader in readers.items()
    }
