"""How to reach a server: its address and the settings of the road."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class ServerAddress:
    """Where the server is, and who says so."""

    uri: str | None
    """As gRPC wants it; None: in this process."""
    source: str = "in this process"

    def told(self) -> str:
        """Return both, for the message that nobody answers there."""
        return f"server {self.source}" if self.uri is None else f"server {self.uri} ({self.source})"


def server_address(target: str | None) -> ServerAddress:
    """Return the gRPC address of a server: as given, else as ELLQ_SERVER says, else the one in this process.

    Errors: ValueError when it is neither host:port nor a gRPC address.
    """
    source = "target" if target else SERVER_VARIABLE
    target = target or os.environ.get(SERVER_VARIABLE) or None
    if target is None:
        return ServerAddress(None)
    if _SCHEME.match(target):
        return ServerAddress(target, source)
    if _HOST_AND_PORT.match(target):
        return ServerAddress(f"dns:///{target}", source)
    raise ValueError(f"server {target!r} ({source}) is neither host:port nor an address like dns:///host:port or unix:/path")


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
