"""How to reach a server: its address and the settings of the road."""

import json
import os
import re
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from ellq.v1 import compression_pb2 as pb
from ellq_client.actions import Method
from ellq_client.frames import read_analysis, read_compression, write_request
from ellq_client.tls import Tls, chosen_tls

SERVER_VARIABLE = "ELLQ_SERVER"

STREAMS_MAX = 8
"""Calls of one compression at a time, where nobody asks for more: with each of them this process grows by some 4 MB."""

OPTIONS = (
    # Every replica behind a name gets its share of calls.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.enable_retries", 0),  # gRPC cannot replay an upload; this package can
    ("grpc.keepalive_time_ms", 30_000),  # the least that servers put up with
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_frame_size", 1 << 20),  # fewer frames for the same bytes
    ("grpc.http2.bdp_probe", 0),  # a window of a fixed size: else it grows to hundreds of megabytes where the disk is slow
    ("grpc.http2.lookahead_bytes", 8 << 20),
)

_SCHEME = re.compile(r"^(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):")
_PORT = re.compile(r":\d{1,5}$")
_HOST_AND_PORT = re.compile(r"^(\[[0-9A-Fa-f:.%]+\]|[^\s/:]+):\d{1,5}$")


@dataclass(frozen=True)
class ServerAddress:
    """Where the server is, and who says so."""

    uri: str | None
    """As gRPC wants it; None: in this process."""
    source: str = "in this process"
    tls: Tls | None = None
    """None: plaintext."""

    def told(self) -> str:
        """Return both, for the message that nobody answers there."""
        if self.uri is None:
            return f"server {self.source}"
        return f"server {self.uri} ({self.source}){'' if self.tls is None else ' by TLS'}"


def server_address(target: str | None, tls: Tls | None = None) -> ServerAddress:
    """Return the gRPC address of a server: as given, else as ELLQ_SERVER says, else the one in this process.

    The same goes for TLS, by ELLQ_TLS and its kind; without them it is plaintext.
    Errors: ValueError when it is neither host:port nor a gRPC address, or TLS is to lead into this process.
    """
    source = "target" if target else SERVER_VARIABLE
    target = target or os.environ.get(SERVER_VARIABLE) or None
    if target is None:
        if tls is not None:
            raise ValueError(f"TLS leads to a server elsewhere, but none is named (target) or set ({SERVER_VARIABLE})")
        return ServerAddress(None)
    tls = tls or chosen_tls()
    if _SCHEME.match(target):
        return ServerAddress(target, source, tls)
    if _HOST_AND_PORT.match(target):
        return ServerAddress(f"dns:///{target}", source, tls)
    raise ValueError(f"server {target!r} ({source}) is neither host:port nor an address like dns:///host:port or unix:/path")


def streams_to(server: ServerAddress, asked: int | None) -> Callable[[], int]:
    """Return what tells how many calls of one compression are under way at a time. Errors: ValueError.

    Unless it is asked for, a call for each replica: several to one of them take as many times its memory, and hardly less time.
    """
    if asked is not None and asked < 1:
        raise ValueError(f"streams must be at least 1, got {asked}")
    return lambda: asked or min(replicas_of(server), STREAMS_MAX)


def replicas_of(server: ServerAddress) -> int:
    """Return how many replicas an address leads to, at least 1; may ask the name service, and wait for it."""
    scheme, _, rest = (server.uri or "").partition(":")
    if scheme in ("ipv4", "ipv6"):
        return rest.count(",") + 1
    if scheme != "dns":
        return 1
    name = rest.rpartition("/")[2]
    host = _PORT.sub("", name).strip("[]")
    try:
        found = {(family, address[0]) for family, *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return 1  # gRPC will say what is wrong with the name
    families = Counter(family for family, _ in found)
    return max(families.values(), default=1)  # not the sum: a replica may have an address in each


def open_channel(uri: str, tls: Tls | None) -> grpc.Channel:
    """Return a channel; nothing is sent before its first call. Errors: TlsFailure."""
    if tls is None:
        return grpc.insecure_channel(uri, options=OPTIONS)
    return grpc.secure_channel(uri, tls.credentials(), options=(*OPTIONS, *tls.options()))


def open_async_channel(uri: str, tls: Tls | None) -> grpc.aio.Channel:
    """Return a channel for the running event loop. Errors: TlsFailure."""
    if tls is None:
        return grpc.aio.insecure_channel(uri, options=OPTIONS)
    return grpc.aio.secure_channel(uri, tls.credentials(), options=(*OPTIONS, *tls.options()))


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
