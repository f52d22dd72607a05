"""A gRPC server that does nothing with what it gets, with the channel settings of ours: the ceiling.

python -m tests.benchmarks.bench.bare_server LISTEN [KEY_FILE CERTIFICATE_FILE]
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio

UPLOAD = "/bare/Upload"
ECHO = "/bare/Echo"

OPTIONS = (("grpc.http2.max_frame_size", 1 << 20),)
"""What ellq sets for the sake of speed, on both sides, so that the ceiling is as high."""


async def upload(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
    """Throw everything away, and answer how many bytes it was."""
    size = 0
    async for message in messages:
        size += len(message)
    return str(size).encode()


async def echo(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
    """Send everything back."""
    async for message in messages:
        await context.write(message)


async def serve(listen: str, *files: str) -> None:
    """Serve until killed; with a key and a certificate, over TLS."""
    server = grpc.aio.server(options=OPTIONS)
    handlers = {"Upload": grpc.stream_unary_rpc_method_handler(upload), "Echo": grpc.stream_stream_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", handlers),))
    if files:
        key, certificate = (Path(file).read_bytes() for file in files)
        server.add_secure_port(listen, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        server.add_insecure_port(listen)
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
