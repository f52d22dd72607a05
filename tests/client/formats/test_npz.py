"""Archives of numpy arrays: order of axes and bytes, compression and other members stay; pickles and bombs are refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.client.formats.conftest import HALF, check_only_zeros

from ellq_client import SourceError, verify
from ellq_client.sources import open_source


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "w": random.normal(size=(8, 6)).astype(np.float32),
        "fortran": np.asfortranarray(random.normal(size=(8, 6))),
        "big": random.normal(size=(4, 4)).astype(">f4"),
        "half/kernel:0": random.normal(size=(3, 3, 4, 6)).astype(np.float16),
        "steps": np.arange(3),
        "names": np.array(["a", "bc"]),
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_archive_stays_what_it_was(client, arrays, tmp_path, save):
    path, output = tmp_path / "m.npz", tmp_path / "out.npz"
    save(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "kept")
    result = client.compress(path, output, rule=HALF).result()
    check_only_zeros(path, output, result)
    assert set(result.not_sent) == {"names"}
    assert result["half/kernel:0"].neuron_axis == (3,)
    with np.load(output, allow_pickle=False) as new:
        for name, array in arrays.items():
            assert (new[name].dtype, new[name].flags.f_contiguous) == (array.dtype, array.flags.f_contiguous)
            kept = new[name] != np.zeros((), array.dtype)
            np.testing.assert_array_equal(new[name][kept], array[kept])
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(output) as new_archive:
        told = [[(m.filename, m.compress_type, m.file_size, m.date_time) for m in one.infolist()] for one in (old, new_archive)]
        assert told[0] == told[1]
        assert new_archive.read("readme.txt") == b"kept"
    assert verify(path, output).weights_cut == sum(
        tensor.measurement.weights - tensor.allocation.kept for tensor in result.tensors if tensor.measurement
    )


def test_objects_are_a_pickle(tmp_path):
    np.savez(tmp_path / "m.npz", w=np.ones((2, 2)), x=np.array([{}], dtype=object))
    with pytest.raises(SourceError, match=r"'x\.npy' holds Python objects, a pickle; nothing was executed"):
        open_source(tmp_path / "m.npz")


def test_a_bomb_is_refused_before_it_is_opened(tmp_path):
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", bytes(1000))
        archive.filelist[0].file_size = 1 << 40  # what the directory will claim
    with pytest.raises(SourceError, match=f"it would inflate from {path.stat().st_size} to {1 << 40} bytes"):
        open_source(path)


def test_members_that_overlap_are_refused(tmp_path):
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v.npy", bytes(1000))
        archive.writestr("w.npy", bytes(1000))
        archive.filelist[1].header_offset = 1
    with pytest.raises(SourceError, match=r"'v\.npy' and 'w\.npy' overlap"):
        open_source(path)


def test_damaged_archives_are_named(arrays, tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, **arrays)
    whole = path.read_bytes()
    for damaged in (b"", b"no archive", whole[:-30], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=r"m\.npz is no \.npz archive"):
            open_source(path)
    place = whole.index(arrays["w"].tobytes())
    path.write_bytes(whole[:place] + b"\1" + whole[place + 1 :])
    with pytest.raises(SourceError, match="Bad CRC-32"):
        list(open_source(path).frames())


@pytest.mark.parametrize("shape", [(2, 3), (2, 1 << 40)])
def test_an_array_that_lies_about_its_shape_is_named(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive, archive.open("w.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
        member.write(bytes(16))
    with pytest.raises(SourceError, match=r"'w\.npy' does not hold together"):
        open_source(tmp_path / "m.npz")


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"


@pytest.mark.parametrize(
    ("header", "trouble"),
    [
        (HEADER % "(-2, -2)", r"its shape would be \(-2, -2\)"),
        (HEADER % "(True, 4)", r"its shape would be \(True, 4\)"),
        (HEADER % f"(0, {1 << 70})", r"its shape would be \(0, "),
        ("-" * 9000 + "1", "no numpy array"),
        ("(" * 9000, "no numpy array"),
        (HEADER.replace("<f4", "\xff") % "(2, 2)", "no numpy array"),
    ],
)
@pytest.mark.parametrize("version", [1, 3])
def test_headers_that_no_program_writes_are_named(tmp_path, header, trouble, version):
    text = header.encode("latin1") + b"\n"
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("w.npy", b"\x93NUMPY" + bytes([version, 0]) + length + text + bytes(16))
    with pytest.raises(SourceError, match=rf"'w\.npy' .*{trouble}"):
        open_source(tmp_path / "m.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_data_that_are_damaged_are_named(tmp_path, arrays, method):
    path = tmp_path / "m.npz"
    np.savez(tmp_path / "stored.npz", w=arrays["w"])
    with zipfile.ZipFile(tmp_path / "stored.npz") as stored, zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("w.npy", stored.read("w.npy"))
    damaged = bytearray(path.read_bytes())
    damaged[35:49] = b"\xff" * 14
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=r"'w\.npy' is no numpy array"):
        open_source(path)


def test_a_member_shorter_than_the_archive_says_is_named(tmp_path):
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("w.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (64, 64)})
        archive.filelist[0].file_size += 64 * 64 * 4
    with pytest.raises(SourceError, match="it has 128 bytes, not the 16 512 that the archive says"):
        list(open_source(path).frames())


def test_an_array_without_a_name_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "stored.npz", w=arrays["w"])
    with zipfile.ZipFile(tmp_path / "stored.npz") as stored, zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr(".npy", stored.read("w.npy"))
    with pytest.raises(SourceError, match=r"m\.npz has a tensor whose name is empty"):
        open_source(tmp_path / "m.npz")


def test_two_members_of_one_name_are_refused(tmp_path):
    path: Path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", b"")
    with pytest.raises(SourceError, match=r"two members called 'a\.npy'"):
        open_source(path)
