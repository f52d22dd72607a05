"""An output on its way to its place, and what an interruption leaves of it."""

import errno
import os

import pytest

from ellq_client import InvalidOutput, partial_file


def test_a_file_that_an_interruption_has_kept_from_being_noted_is_removed(tmp_path, monkeypatch):
    create_file = partial_file.create_file

    def interrupted(place, permissions):
        create_file(place, permissions).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(partial_file, "create_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        partial_file.write_file(tmp_path / "a.json", [b"{}"], permissions=0o600)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=["hard links", "no hard links"])
def links(request, monkeypatch):
    """With and without a file system that has hard links."""

    def refused(source, target):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refused)


def meanwhile(place, make):
    """Yield what is to be written, with something coming to stand in its place in between."""
    yield b"{"
    make(place)
    yield b"}"


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    "make", [lambda place: place.write_text("theirs"), lambda place: place.symlink_to("theirs")], ids=["file", "dangling link"]
)
def test_what_came_to_stand_there_meanwhile_stays(tmp_path, make):
    place = tmp_path / "a.json"
    with pytest.raises(InvalidOutput, match=r"a\.json exists by now, and is not to be replaced"):
        partial_file.write_file(place, meanwhile(place, make), permissions=0o600, replace=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert os.readlink(place) == "theirs" if place.is_symlink() else place.read_text() == "theirs"
    with pytest.raises(InvalidOutput, match=r"a\.json exists, and is not to be replaced"):
        partial_file.write_file(place, [b"{}"], permissions=0o600, replace=False)


@pytest.mark.usefixtures("links")
def test_where_nothing_stands_the_file_appears_under_its_name_alone(tmp_path):
    partial_file.write_file(tmp_path / "a.json", [b"{}"], permissions=0o600, replace=False)
    assert [(path.name, path.read_bytes(), path.stat().st_nlink) for path in tmp_path.iterdir()] == [("a.json", b"{}", 1)]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    place, target = tmp_path / "a.json", tmp_path / "target.json"
    target.write_text("theirs")
    place.symlink_to(target)
    partial_file.write_file(place, [b"{}"], permissions=0o600)
    assert (place.is_symlink(), place.read_bytes(), target.read_text()) == (False, b"{}", "theirs")
