"""Addresses: taken by one server alone, in plaintext or with TLS."""

import socket
from urllib.parse import urlsplit

import grpc
import grpc.aio

from ellq_server.credentials import RotatingCredentials


class CannotListen(OSError):
    """The address of a gRPC port or of the metrics page cannot be taken."""


def listen_on(server: grpc.aio.Server, address: str, credentials: RotatingCredentials | None) -> None:
    """Give the server an address; without credentials it is plaintext. Errors: CannotListen."""
    _check(address)
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials.for_port())
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address}: {error}") from error


def _check(address: str) -> None:
    """Try the address first, because gRPC keeps the reason of a failure to itself. Errors: CannotListen."""
    if address.startswith("unix:"):
        return
    parts = urlsplit(f"//{address}")
    try:
        if not parts.hostname or parts.port is None:
            raise CannotListen(f"cannot listen on {address}: an address is HOST:PORT or unix:/PATH")
        family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
        with socket.create_server((parts.hostname, parts.port), family=family):
            pass
    except (OSError, ValueError) as error:
        if isinstance(error, CannotListen):
            raise
        raise CannotListen(f"cannot listen on {address}: {error}") from error
