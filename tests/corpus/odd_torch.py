"""PyTorch: what training loops, older versions and strangers leave in a file."""

import io
import os
import pickle
import warnings
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ellq_client import NonfiniteWeight
from tests.corpus.cases import Case, Make, refused, works
from tests.corpus.headers import with_bytes


def seeded(*shape: int) -> torch.Tensor:
    """Return a tensor of normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def linear(inputs: int, outputs: int) -> torch.nn.Linear:
    """Return a layer of such numbers."""
    layer = torch.nn.Linear(inputs, outputs)
    layer.load_state_dict({"weight": seeded(outputs, inputs), "bias": seeded(outputs)})
    return layer


def saved(document: object, **options: object) -> Make:
    """Return what saves a document."""
    return lambda path: torch.save(document, path, **options)


class Program:
    """Leaves a file beside its pickle when it is executed."""

    def __init__(self, path: Path) -> None:
        self.witness = path.with_name("executed")

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, (f"touch '{self.witness}'",)


def program(path: Path) -> None:
    torch.save({"w": seeded(4, 4), "extra": Program(path)}, path)


def old_program(path: Path) -> None:
    torch.save({"w": seeded(4, 4), "extra": Program(path)}, path, _use_new_zipfile_serialization=False)


def plain_program(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": [1.0], "extra": Program(path)}))


def script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and everywhere
        torch.jit.trace(linear(4, 4), seeded(1, 4)).save(str(path))


def training() -> dict[str, Any]:
    """Return a checkpoint as training loops write it."""
    model = torch.nn.Sequential(OrderedDict(fc=linear(4, 8), out=linear(8, 4)))
    optimizer = torch.optim.Adam(model.parameters())
    model(seeded(2, 4)).sum().backward()
    optimizer.step()
    state = OrderedDict((f"module.{name}", tensor) for name, tensor in model.state_dict().items())
    return {"epoch": 3, "state_dict": state, "optimizer": optimizer.state_dict(), "args": {"lr": 0.1}}


def packed(path: Path) -> None:
    """Write a small archive with a record of megabytes of zeros."""
    torch.save({"w": torch.zeros(1 << 20)}, path)
    repacked(path, zipfile.ZIP_DEFLATED, {})


def big_endian(path: Path) -> None:
    torch.save({"fc.weight": seeded(4, 8).to(torch.float32)}, path)
    repacked(
        path,
        zipfile.ZIP_STORED,
        {"byteorder": lambda data: b"big", "data/0": lambda data: np.frombuffer(data, "<f4").astype(">f4").tobytes()},
    )


def repacked(path: Path, compression: int, changes: dict[str, Any]) -> None:
    """Write an archive again, with some of its records changed."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as old, zipfile.ZipFile(path, "w", compression) as new:
        for name in old.namelist():
            change = changes.get(name.partition("/")[2], bytes)
            new.writestr(name, change(old.read(name)))


def in_itself() -> list[object]:
    """Return a list that holds itself."""
    values: list[object] = [seeded(4, 4)]
    values.append(values)
    return values


def nested(depth: int) -> object:
    """Return a tensor in so many lists."""
    value: object = seeded(2, 2)
    for _ in range(depth):
        value = [value]
    return value


def damaged(was: bytes, now: bytes) -> Make:
    """Return what writes a file whose directory of records has other bytes."""

    def make(path: Path) -> None:
        torch.save({"w": seeded(4, 4)}, path)
        text = path.read_bytes()
        place = text.index(b"PK\x01\x02")
        assert was in text[place:]
        path.write_bytes(text[:place] + text[place:].replace(was, now, 1))

    return make


def cut_off(path: Path) -> None:
    torch.save({"w": seeded(32, 32)}, path)
    path.write_bytes(path.read_bytes()[:2000])


TIED = seeded(6, 4)
WHOLE = seeded(12, 4)
FC = {"fc.weight": seeded(4, 8)}

ORDINARY = {
    "before 1.6": works("m.pth", saved(FC, _use_new_zipfile_serialization=False), "fc.weight"),
    "suffix in capitals": works("M.PTH", saved(FC), "fc.weight"),
    "training loop": works("m.pth", saved(training()), "fc.weight", "out.weight"),
    "a bare tensor": works("m.pt", saved(seeded(4, 4)), "tensor"),
    "a list of parameters": works("m.pt", saved([torch.nn.Parameter(seeded(4, 4)), seeded(3)]), "0"),
    "keys that are numbers": works("m.pt", saved({0: {"weight": seeded(4, 4)}, 1: {"bias": seeded(4)}}), "0.weight"),
    "tied weights": works("m.bin", saved({"a.weight": TIED, "b.weight": TIED}), "a.weight", tied=["b.weight"]),
    "slices of one storage": works("m.bin", saved({"q.weight": WHOLE[:6], "k.weight": WHOLE[6:].T}), "q.weight", "k.weight"),
    "slices that overlap": works("m.bin", saved({"q.weight": WHOLE[:8], "k.weight": WHOLE[6:], **FC}), "fc.weight"),
    "an expanded row": works("m.bin", saved({"row.weight": seeded(1, 4).expand(4, 4), **FC}), "fc.weight"),
    "weights of another byte order": works("m.pth", big_endian, "fc.weight"),
    "no elements": works("m.pth", saved({"none": torch.empty(0, 4), "scalar": torch.tensor(1.0), **FC}), "fc.weight"),
    "whole numbers, truth, complex": works(
        "m.pth",
        saved(
            {
                "n": torch.arange(4).reshape(2, 2),
                "t": torch.ones(2, 2, dtype=torch.bool),
                "c": torch.ones(2, 2, dtype=torch.complex64),
                **FC,
            }
        ),
        "fc.weight",
    ),
    "numbers that safetensors does not have": works(
        "m.pth", saved({"z": torch.ones(2, 2, dtype=torch.complex128), **FC}), "fc.weight"
    ),
    "sparse": works("m.pth", saved({"s": torch.eye(4).to_sparse(), **FC}), "fc.weight"),
    "quantised": works("m.pth", lambda path: _quantised(path), "fc.weight"),
    "on no device": works("m.pth", saved({"m": torch.empty(4, 4, device="meta"), **FC}), "fc.weight"),
}

HOSTILE: dict[str, Case] = {
    "a program": refused("m.pth", program, r"posix\.system.*nothing of it was executed"),
    "a program, before 1.6": refused("m.pth", old_program, r"posix\.system.*nothing of it was executed"),
    "a program in a bare pickle": refused("m.bin", plain_program, r"m\.bin"),
    "TorchScript": refused("m.pt", script, r"m\.pt is a TorchScript archive"),
    "a whole module": refused("m.pt", saved(linear(2, 2)), r"torch\.nn\.modules\.linear\.Linear.*state_dict"),
    "a namespace": refused("m.pt", saved({"args": Namespace(lr=1), **FC}), r"argparse\.Namespace"),
    "a scalar of numpy": refused("m.pt", saved({"best": np.float64(0.5), **FC}), r"numpy\S*\.scalar"),
    "nothing but an optimizer": refused("m.pt", saved(training()["optimizer"]), r"m\.pt is the state of an optimizer"),
    "no tensors": refused("m.pt", saved({"epoch": 3}), r"m\.pt holds no tensors"),
    "two tensors of one name": refused("m.pt", saved({"a.b": seeded(2, 2), "a": {"b": seeded(2, 2)}}), r"'a\.b'"),
    "a tensor without a name": refused("m.pt", saved({"": seeded(2, 2)}), "name is empty"),
    "compressed records": refused("m.pth", packed, r"record '.*' is compressed"),
    "a list in itself": refused("m.pth", saved(in_itself()), r"m\.pth nests too deeply"),
    "ten thousand lists": refused("m.pth", lambda path: _nested(path), r"m\.pth"),
    "a record of no name": refused("m.pth", damaged(b"m/data.pkl", b"m/\xff\xfe\xfd.pkl"), r"m\.pth is no PyTorch file"),
    "an archive of a later version": refused(
        "m.pth", damaged(b"PK\x01\x02\0\0\0\0", b"PK\x01\x02\xff\0\xff\0"), r"m\.pth is no PyTorch file"
    ),
    "cut off": refused("m.pth", cut_off, r"m\.pth"),
    "NaN": refused(
        "m.pth", saved({"w": torch.full((2, 2), torch.nan)}), "'w'", error=NonfiniteWeight, reason="NONFINITE_WEIGHT"
    ),
    "all zero bytes": refused("m.pth", with_bytes(bytes(4096)), r"m\.pth is no PyTorch file"),
}


def _quantised(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in files
        torch.save({"q": torch.quantize_per_tensor(seeded(4, 4), 0.1, 0, torch.qint8), **FC}, path)


def _nested(path: Path) -> None:
    """Write the pickle itself: no pickler nests so deeply."""
    torch.save([seeded(2, 2)], path)
    repacked(path, zipfile.ZIP_STORED, {"data.pkl": lambda data: b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b"."})


CASES = {**ORDINARY, **HOSTILE}
