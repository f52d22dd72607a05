"""`python -m ellq_server.probe [ADDRESS] [--wait SECONDS]`: exit 0 when the server says SERVING. For health checks.

Speaks plaintext: a server with TLS is asked at its ELLQ_HEALTH_LISTEN, which is also the default address where it is set.
"""

import argparse
import os
import sys
import time
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 3.0
DEFAULT_ADDRESS = "localhost:50051"


def probe(address: str, *, wait_seconds: float) -> bool:
    """Return whether the server at the address is serving, or is within `wait_seconds`."""
    deadline = time.monotonic() + wait_seconds
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # generated without types
        while True:
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return True
                problem = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            except grpc.RpcError as error:
                call: Any = error  # gRPC raises the call itself, which its types do not tell
                problem = f"{call.code().name}: {call.details()}"
            if time.monotonic() >= deadline:
                print(f"{address}: {problem}", file=sys.stderr)
                return False
            time.sleep(0.1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m ellq_server.probe")
    parser.add_argument("address", nargs="?", default=os.environ.get("ELLQ_HEALTH_LISTEN") or DEFAULT_ADDRESS)
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS")
    wanted = parser.parse_args()
    sys.exit(not probe(wanted.address, wait_seconds=wanted.wait))
