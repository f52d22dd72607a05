"""Addresses: taken by one server alone, in plaintext or with TLS."""

import socket

import grpc
import grpc.aio

from ellq_server.addresses import host_and_port
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
    try:
        if place := host_and_port(address):
            family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
            with socket.create_server(place, family=family):
                pass
    except (OSError, ValueError) as error:  # a ValueError of what is no address, or of a host that no name can be
        raise CannotListen(f"cannot listen on {address}: {error}") from error
