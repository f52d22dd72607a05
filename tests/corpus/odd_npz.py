"""numpy archives: what numpy writes on other machines, and what no numpy writes."""

import struct
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from tests.corpus.cases import Case, Make, refused, works
from tests.corpus.headers import WEIGHT


def archive(**arrays: np.ndarray) -> Make:
    """Return what saves arrays."""
    return lambda path: _into(path, lambda file: np.savez(file, **arrays))


def _into(path: Path, save) -> None:
    with path.open("wb") as file:  # numpy would add a suffix of its own to some names
        save(file)


def bomb(path: Path) -> None:
    """Write 64 megabytes of zeros, which take a thousandth of that, and claim that they would be three gibibytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new, new.open("w.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (64 << 20,)})
        for _ in range(64):
            member.write(bytes(1 << 20))
    text = bytearray(path.read_bytes())
    size = struct.pack("<I", (64 << 20) + 128)
    text = text.replace(size, struct.pack("<I", (3 << 30)))
    path.write_bytes(text)


def cut_off(path: Path) -> None:
    archive(w=WEIGHT)(path)
    path.write_bytes(path.read_bytes()[:-40])


def damaged(path: Path) -> None:
    archive(w=WEIGHT)(path)
    path.write_bytes(path.read_bytes().replace(WEIGHT.tobytes()[:8], bytes(8)))


def twice(path: Path) -> None:
    archive(w=WEIGHT)(path)
    with zipfile.ZipFile(path, "a") as one:
        text = one.read("w.npy")
        one.filelist[0].filename = "x.npy"
        one.writestr("y.npy", text)
        one.filelist[1].filename = "x.npy"


fine, bad = partial(works, "m.npz"), partial(refused, "m.npz")

OBJECTS = np.empty(2, object)
OBJECTS[:] = [{}, []]

CASES: dict[str, Case] = {
    "order of Fortran": fine(archive(w=np.asfortranarray(WEIGHT)), "w"),
    "order of other machines": fine(archive(w=WEIGHT.astype(">f4")), "w"),
    "compressed": fine(lambda path: np.savez_compressed(path, w=WEIGHT), "w"),
    "names with slashes and dots": fine(archive(**{"../../w": WEIGHT, "/v": WEIGHT, "a b": WEIGHT}), "../../w", "/v", "a b"),
    "scalars, nothing, truth": fine(archive(s=np.float32(1), n=np.ones((0, 3)), t=np.ones((2, 2), bool), w=WEIGHT), "w"),
    "text and dates": fine(archive(t=np.array(["a", "bc"]), d=np.zeros((2, 2), "M8[s]"), w=WEIGHT), "w"),
    "records": fine(archive(r=np.zeros((2, 2), [("a", "f4"), ("b", "i4")]), w=WEIGHT), "w"),
    "long floats": fine(archive(g=np.ones((2, 2), np.longdouble), w=WEIGHT), "w"),
    "complex": fine(archive(c=np.ones((2, 2), np.complex64), z=np.ones((2, 2), np.complex128), w=WEIGHT), "w"),
    "suffix in capitals": works("M.NPZ", archive(w=WEIGHT), "w"),
    "objects": bad(archive(o=OBJECTS, w=WEIGHT), r"'o\.npy' holds Python objects.*nothing was executed"),
    "nothing but text": bad(archive(t=np.array(["a"])), r"m\.npz holds no tensors"),
    "no arrays": bad(archive(), r"m\.npz holds no tensors"),
    "a bomb": bad(bomb, r"m\.npz is refused: it would inflate"),
    "cut off": bad(cut_off, r"m\.npz is no \.npz archive"),
    "changed bytes": bad(damaged, r"'w\.npy'.*CRC"),
    "a single array": bad(lambda path: _into(path, lambda file: np.save(file, WEIGHT)), "it is a single numpy array"),
}
