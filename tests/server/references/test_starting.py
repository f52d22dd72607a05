"""Settings of references are read when the server starts: what cannot work is told then, and not in the first call."""

import sys
from importlib import util
from pathlib import Path

import pytest

from ellq_server.main import EXIT_USAGE, serve
from ellq_server.references import doors
from ellq_server.references.doors import Doors
from ellq_server.references.uploads import MOST_PARTS, PART_BYTES, PARTS_AHEAD, ObjectWriter, part_bytes
from ellq_server.settings import Settings


@pytest.mark.parametrize("setting", ["source-prefixes", "output-prefixes"])
def test_a_prefix_that_is_none_stops_the_start(capsys: pytest.CaptureFixture[str], setting: str) -> None:
    assert serve([f"--{setting}", "s3://models,http://169.254.169.254", "--metrics-port", "0"]) == EXIT_USAGE
    told = capsys.readouterr().err
    assert f"ELLQ_{setting.upper().replace('-', '_')}: 'http://169.254.169.254' is no prefix" in told


NO_ADDRESSES = [
    "50051",
    "localhost:",
    "localhost:70000",
    "::1:50051",
    "http://localhost:50051",
    "user@localhost:50051",
    "@localhost:50051",
    "unix:",
]


@pytest.mark.parametrize("address", NO_ADDRESSES)
@pytest.mark.parametrize("setting", ["listen", "health-listen"])
def test_an_address_that_is_none_is_a_wrong_setting(capsys: pytest.CaptureFixture[str], setting: str, address: str) -> None:
    assert serve([f"--{setting}", address, "--metrics-port", "0"]) == EXIT_USAGE
    told = capsys.readouterr().err
    assert told.startswith(f"ellq serve: {setting.replace('-', '_')}: ")
    assert "HOST:PORT, such as 0.0.0.0:50051, [IPV6]:PORT or unix:/PATH" in told
    assert told.endswith(f", got {address!r}\n")


def test_a_folder_that_is_not_there_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Doors(Settings(source_prefixes=f"file://{tmp_path}/none/, file://{tmp_path}/", output_prefixes="s3://models"))
    (told,) = (record.msg for record in caplog.records)
    assert (told["event"], told["level"]) == ("prefix does not exist", "warning")
    assert (told["setting"], told["prefix"]) == ("ELLQ_SOURCE_PREFIXES", f"file://{tmp_path}/none")


@pytest.mark.parametrize(("prefix", "package"), [("s3://models", "obstore"), ("hf://org", "huggingface_hub")])
def test_a_missing_package_stops_the_start_and_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, prefix: str, package: str
) -> None:
    monkeypatch.setattr(doors, "find_spec", lambda name: None if name == package else util.find_spec(name))
    assert serve(["--source-prefixes", prefix, "--metrics-port", "0"]) == EXIT_USAGE
    assert f"{package} is not installed: pip install 'ellq[references]'" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, 1, PART_BYTES * MOST_PARTS, PART_BYTES * MOST_PARTS + 1, 10**12, 1 << 44])
def test_parts_are_never_too_many_and_their_memory_is_counted(size: int) -> None:
    part = part_bytes(size)
    assert part * 10_000 > size
    assert part % (1 << 20) == 0
    assert part < 5 << 30
    extra = ObjectWriter(None, None, replace=True, seconds=1.0).memory_bytes(size)
    assert extra == (PARTS_AHEAD + 1) * (part - PART_BYTES)
    assert (extra == 0) == (size <= PART_BYTES * MOST_PARTS)


def test_the_rooms_of_references_import_no_store() -> None:
    assert "ellq_server.references.doors" in sys.modules
    for module in (name for name in sys.modules if name.startswith("ellq_server.references")):
        assert not {"obstore", "huggingface_hub"} & set(vars(sys.modules[module]))
