"""`python -m ellq_server.probe [ADDRESS]`: exit 0 when the server says SERVING. For container health checks."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 3.0


def probe(address: str) -> bool:
    """Return whether the server at the address is serving."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            print(f"{address}: {error}", file=sys.stderr)
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


if __name__ == "__main__":
    sys.exit(not probe(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"))
