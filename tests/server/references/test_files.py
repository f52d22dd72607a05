"""Files on a volume, and every way out of the folder that is open."""

import os
import threading
from pathlib import Path

import pytest

from tests.server.references.calls import ByReference


@pytest.fixture
def models(server: ByReference, folder: Path, stream: bytes) -> Path:
    """The open folder, with a checkpoint in it and a secret beside it."""
    (folder / "secret").mkdir(exist_ok=True)
    (folder / "secret/in.safetensors").write_bytes(stream)
    (folder / "open/in.safetensors").write_bytes(stream)
    for left in ("link", "out.safetensors"):
        if os.path.lexists(folder / "open" / left):
            (folder / "open" / left).unlink()
    return folder / "open"


def partials(models: Path) -> list[Path]:
    return list(models.glob(".*.partial"))


def test_a_file_becomes_a_file(server, models, stream) -> None:
    answer = server.compress(f"file://{models}/in.safetensors", f"file://{models}/out.safetensors")
    assert (models / "out.safetensors").read_bytes() == server.caller.compress(stream).data
    assert answer.summary.stored.etag == ""
    assert partials(models) == []


def test_a_link_to_a_file_is_not_followed(server, models) -> None:
    (models / "link").symlink_to("../secret/in.safetensors")
    assert server.refused(f"file://{models}/link").reason == "URI_NOT_ALLOWED"


def test_a_link_to_a_folder_is_not_followed(server, models) -> None:
    (models / "link").symlink_to("../secret")
    assert server.refused(f"file://{models}/link/in.safetensors").reason == "URI_NOT_ALLOWED"


def test_not_even_a_link_that_stays_inside(server, models) -> None:
    (models / "link").symlink_to("in.safetensors")
    assert server.refused(f"file://{models}/link").reason == "URI_NOT_ALLOWED"


def test_nothing_is_written_through_a_link(server, models, stream) -> None:
    secret = models.parent / "secret/in.safetensors"
    source = f"file://{models}/in.safetensors"
    (models / "link").symlink_to("../secret")
    assert server.refused(source, f"file://{models}/link/in.safetensors").reason == "URI_NOT_ALLOWED"
    (models / "link").unlink()
    (models / "link").symlink_to("../secret/in.safetensors")
    assert server.refused(source, f"file://{models}/link").reason == "URI_NOT_ALLOWED"
    assert secret.read_bytes() == stream
    assert partials(models) == []


@pytest.mark.timeout(30)
def test_pipes_and_folders_are_no_checkpoints(server, models) -> None:
    os.mkfifo(models / "link")  # opening one must not wait for a writer
    assert server.refused(f"file://{models}/link").reason == "URI_NOT_ALLOWED"
    (models / "folder").mkdir(exist_ok=True)
    assert server.refused(f"file://{models}/folder").reason == "URI_NOT_ALLOWED"
    source = f"file://{models}/in.safetensors"
    assert server.refused(source, f"file://{models}/folder").reason == "URI_NOT_ALLOWED"
    assert server.refused(source, f"file://{models}/link").reason == "URI_NOT_ALLOWED"


def test_files_that_are_not_there(server, models) -> None:
    assert server.refused(f"file://{models}/none").reason == "OBJECT_NOT_FOUND"
    assert server.refused(f"file://{models}/none/m").reason == "OBJECT_NOT_FOUND"
    assert server.refused(f"file://{models}/in.safetensors", f"file://{models}/none/m").reason == "OBJECT_NOT_FOUND"


def test_a_folder_swapped_for_a_link_under_way_is_never_followed(server, models) -> None:
    """What was checked is what is opened, however fast somebody changes the names in between."""
    inner, aside, link = models / "swapped", models / "aside", models / "evil"
    inner.mkdir()
    (inner / "in.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")  # a checkpoint without tensors
    link.symlink_to("../secret")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            inner.rename(aside)
            link.rename(inner)
            inner.rename(link)
            aside.rename(inner)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(60):
            try:
                answer = server.compress(f"file://{inner}/in.safetensors")
            except Exception as error:
                assert "URI_NOT_ALLOWED" in str(error.trailing_metadata()) or "does not exist" in error.details()  # noqa: PT017
            else:
                assert answer.summary.tensors == 0
    finally:
        done.set()
        swapping.join()


def test_a_refusal_leaves_the_old_file_and_no_partial_one(server, models, stream) -> None:
    torn = bytearray(stream)
    torn[-4:] = b"\x00\x00\xc0\x7f"
    (models / "nan.safetensors").write_bytes(bytes(torn))
    (models / "out.safetensors").write_bytes(b"old")
    refusal = server.refused(f"file://{models}/nan.safetensors", f"file://{models}/out.safetensors")
    assert refusal.reason == "NONFINITE_WEIGHT"
    assert (models / "out.safetensors").read_bytes() == b"old"
    assert partials(models) == []
