"""The committed stubs are those of the committed contract."""

import subprocess
import sys
from pathlib import Path

PROTO = Path(__file__).parents[2] / "proto"
STUBS = ["compression_pb2.py", "compression_pb2.pyi", "compression_pb2_grpc.py"]


def test_regenerated_stubs_are_the_committed_ones(tmp_path: Path) -> None:
    """When this fails: `make proto`."""
    out = f"{tmp_path}"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(PROTO), f"--python_out={out}", f"--pyi_out={out}"]
    subprocess.run([*command, f"--grpc_python_out={out}", "ellq/v1/compression.proto"], check=True, cwd=PROTO)
    for name in STUBS:
        assert (tmp_path / "ellq/v1" / name).read_text() == (PROTO / "ellq/v1" / name).read_text(), name
