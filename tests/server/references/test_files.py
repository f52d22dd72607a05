"""Files on a volume, and every way out of the folder that is open."""

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import grpc
import numpy as np
import pytest
import safetensors.numpy

from ellq.v1 import compression_pb2 as pb
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


@pytest.mark.parametrize(("umask", "replaced", "expected"), [(0o022, None, 0o644), (0o027, None, 0o640), (0o022, 0o600, 0o600)])
def test_a_file_is_as_open_as_umask_and_what_it_replaces_allow(
    server, models, stream, monkeypatch, umask: int, replaced: int | None, expected: int
) -> None:
    """And so is what is not finished: the file system gives it no more at its creation."""
    out = models / "out.safetensors"
    if replaced is not None:
        out.write_bytes(stream)
        out.chmod(replaced)
    unfinished = []
    opened = os.open

    def watched(path, *arguments, **options):
        handle = opened(path, *arguments, **options)
        if str(path).endswith(".partial"):
            unfinished.append(os.fstat(handle).st_mode & 0o777)
        return handle

    monkeypatch.setattr(os, "open", watched)
    before = os.umask(umask)
    try:
        server.compress(f"file://{models}/in.safetensors", f"file://{out}", replace_output=replaced is not None)
    finally:
        os.umask(before)
    assert (unfinished, out.stat().st_mode & 0o777) == ([expected], expected)


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
    refusal = server.refused(f"file://{models}/folder")
    assert refusal.reason == "URI_NOT_ALLOWED"
    assert "/folder is a folder; a URI names one object: of a folder name the shards" in refusal.message
    source = f"file://{models}/in.safetensors"
    assert server.refused(source, f"file://{models}/folder").reason == "URI_NOT_ALLOWED"
    assert server.refused(source, f"file://{models}/link").reason == "URI_NOT_ALLOWED"


def test_an_output_whose_folder_is_not_there_is_told_of_the_folder(server, models) -> None:
    refusal = server.refused(f"file://{models}/in.safetensors", f"file://{models}/none/m")
    assert refusal.message.endswith("/none/m: the folder that it would lie in does not exist; none is created")


@pytest.mark.parametrize("begin", [b"version https://git-lfs", b"PK\x03\x04pytorch"])
def test_what_is_no_safetensors_file_is_named_with_its_beginning(server, models, begin: bytes) -> None:
    (models / "link").write_bytes(begin + bytes(100))
    refusal = server.refused(f"file://{models}/link")
    assert (refusal.reason, refusal.field) == ("HEADER_TOO_LARGE", "options.source_uri")
    assert refusal.message.startswith(f"options.source_uri file://{models}/link: the header claims")
    assert repr(begin[:8]) in refusal.message


def test_packed_weights_are_no_weights_whichever_way_they_come(server, models) -> None:
    metadata = {"format": "ellq-packed", "version": "1"}
    packed = safetensors.numpy.save({"w": np.zeros((1, 9), np.uint8)}, metadata=metadata)
    (models / "link").write_bytes(packed)
    for refusal in (
        server.refused(f"file://{models}/link", f"file://{models}/out.safetensors"),
        server.caller.refused(packed),
    ):
        assert refusal.reason == "MALFORMED_WEIGHTS"
        assert "the weights are packed; unpack them first" in refusal.message
    assert not (models / "out.safetensors").exists()


@pytest.mark.timeout(60)
def test_calls_that_are_cancelled_while_they_open_leave_nothing_open(server, models) -> None:
    source = pb.AnalyzeRequest(options=pb.AnalyzeOptions(source_uri=f"file://{models}/in.safetensors"))
    for turn in range(150):
        call = server.caller.stub.Analyze(iter([source]))
        sleep(turn % 15 / 3000)
        call.cancel()
    deadline = monotonic() + 30
    while opened_below(models) or server.caller.server._admission.calls:
        assert monotonic() < deadline
        sleep(0.02)


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


def opened_below(models: Path) -> list[str]:
    """Return what this process, which is the server's, too, has open there."""
    found: list[str] = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # it may be closed meanwhile
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [where for where in found if where.startswith(str(models))]


def failing(name: str, number: int, *, where: str = "") -> Callable[..., object]:
    """Return this function of the system, made to fail for files whose names have `where` in them, or for any."""
    real = getattr(os, name)

    def fail(*arguments: object, **options: object) -> object:
        if where and where not in str(arguments[0]):
            return real(*arguments, **options)
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("name", "number", "where"),
    [
        ("write", errno.ENOSPC, ""),
        ("write", errno.EDQUOT, ""),
        ("fsync", errno.EIO, ""),
        ("open", errno.EROFS, ".partial"),
        ("open", errno.ENOSPC, ".partial"),
        ("open", errno.EMFILE, "models"),
        ("open", errno.ENFILE, "in.safetensors"),
    ],
)
def test_what_the_caller_cannot_help_may_be_tried_again(server, models, monkeypatch, name, number, where) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f"ellq_server.references.files.os.{name}", failing(name, number, where=where))
        refusal = server.refused(f"file://{models}/in.safetensors", f"file://{models}/out.safetensors")
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert refusal.retry_after == 5.0
    assert os.strerror(number) in refusal.message
    assert partials(models) == []
    assert not (models / "out.safetensors").exists()


def test_a_name_that_is_too_long_is_no_uri(server, models) -> None:
    source, long = f"file://{models}/in.safetensors", "m" * 300
    for places in ((f"file://{models}/{long}", ""), (source, f"file://{models}/{long}"), (source, f"file://{models}/{long}/m")):
        refusal = server.refused(*places)
        assert (refusal.reason, refusal.code) == ("INVALID_URI", grpc.StatusCode.INVALID_ARGUMENT)


def test_the_longest_name_has_a_partial_name_too(server, models) -> None:
    name = "m" * 255
    server.compress(f"file://{models}/in.safetensors", f"file://{models}/{name}")
    (models / name).unlink()


def test_a_file_where_a_folder_should_be(server, models) -> None:
    assert server.refused(f"file://{models}/in.safetensors/m").reason == "URI_NOT_ALLOWED"


def test_a_file_that_is_there_is_replaced_only_where_that_is_wanted(server, models, stream) -> None:
    places = f"file://{models}/in.safetensors", f"file://{models}/out.safetensors"
    server.compress(*places, replace_output=False)
    assert (models / "out.safetensors").read_bytes() == server.caller.compress(stream).data
    (models / "out.safetensors").write_bytes(b"old")
    refusal = server.refused(*places, replace_output=False)
    assert (refusal.reason, refusal.field) == ("OUTPUT_EXISTS", "options.output_uri")
    assert (models / "out.safetensors").read_bytes() == b"old"
    assert partials(models) == []


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_under_way_is_not_replaced(server, models, monkeypatch, links: bool) -> None:
    """It appears while the new one is flushed, which is the last moment before that has its name."""
    real = os.fsync

    def appear(file: int) -> None:
        (models / "out.safetensors").write_bytes(b"somebody else's")
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr("ellq_server.references.files.os.fsync", appear)
        if not links:
            patch.setattr("ellq_server.references.files.os.link", failing("link", errno.EPERM))
        places = f"file://{models}/in.safetensors", f"file://{models}/out.safetensors"
        refusal = server.refused(*places, replace_output=False)
    assert refusal.reason == "OUTPUT_EXISTS"
    assert (models / "out.safetensors").read_bytes() == b"somebody else's"
    assert partials(models) == []


def test_a_file_system_without_hard_links_is_written_to_all_the_same(server, models, stream, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ellq_server.references.files.os.link", failing("link", errno.EPERM))
        server.compress(f"file://{models}/in.safetensors", f"file://{models}/out.safetensors", replace_output=False)
    assert (models / "out.safetensors").read_bytes() == server.caller.compress(stream).data
    assert partials(models) == []


@pytest.mark.parametrize(
    ("name", "where"), [("open", "in.safetensors"), ("pread", ""), ("open", ".partial"), ("write", ""), ("fsync", "")]
)
def test_a_volume_that_hangs_holds_no_call(serve, models, stream, monkeypatch, name: str, where: str) -> None:
    """And whatever the call had open is let go of once the volume answers."""
    prefix, over, real = f"file://{models}", threading.Event(), getattr(os, name)
    hanging = ByReference(serve(source_prefixes=prefix, output_prefixes=prefix, store_seconds=0.5))

    def hang(*arguments: object, **options: object) -> object:
        if not where or where in str(arguments[0]):
            over.wait(30)
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(f"ellq_server.references.files.os.{name}", hang)
        began = monotonic()
        try:
            refusal = hanging.refused(f"{prefix}/in.safetensors", f"{prefix}/out.safetensors")
            assert monotonic() - began < 10
        finally:
            over.set()
    assert (refusal.reason, refusal.code) == ("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE)
    deadline = monotonic() + 10
    while partials(models) or opened_below(models):
        assert monotonic() < deadline
