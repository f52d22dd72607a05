"""What lies where weights should: pointers, web pages, archives, files under the wrong suffix; and odd places to lie at."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from tests.corpus.cases import Case, refused, works
from tests.corpus.headers import WEIGHT, with_bytes

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 90868376\n"
PAGE = b"<!DOCTYPE html>\n<html class=''><head><title>Sign in</title></head><body>404</body></html>\n"
DENIED = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code></Error>"
ANSWER = b'{"error":"Repository not found"}'
SUFFIXES = (".safetensors", ".pth", ".bin", ".onnx", ".gguf", ".npz")

WEIGHTS = save({"w": WEIGHT, "v": WEIGHT})
LONG_GZIP = gzip.compress(bytes(600_000), compresslevel=0, mtime=0)
"""Longer than the header that its first bytes would tell of."""


def archived() -> bytes:
    """Return what torch.save writes."""
    file = io.BytesIO()
    torch.save({"w": torch.ones(4, 4)}, file)
    return file.getvalue()


def array() -> bytes:
    """Return what numpy.save writes."""
    file = io.BytesIO()
    np.save(file, WEIGHT)
    return file.getvalue()


def is_told(data: bytes, words: str, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Case]:
    """Return a case for each suffix, all of these bytes and refused with these words."""
    return {suffix: refused(f"model{suffix}", with_bytes(data), rf"model\{suffix} .*{words}") for suffix in suffixes}


NOT_TORCH = (".safetensors", ".onnx", ".gguf", ".npz")
KINDS: dict[str, dict[str, Case]] = {
    "a pointer of Git LFS as": is_told(POINTER, "pointer of Git LFS.*git lfs pull"),
    "a web page as": is_told(PAGE, "an HTML page"),
    "an answer of a store as": is_told(DENIED, "an XML document"),
    "an answer of a hub as": is_told(ANSWER, "JSON text"),
    "gzip as": is_told(gzip.compress(WEIGHTS, mtime=1), "compressed by gzip"),
    "gzip without a time as": is_told(LONG_GZIP, "compressed by gzip"),
    "bzip2 as": is_told(bz2.compress(WEIGHTS), "compressed by bzip2"),
    "xz as": is_told(lzma.compress(WEIGHTS), "compressed by xz"),
    "a PyTorch archive as": is_told(archived(), "a zip archive.*rename it to .pth", (".safetensors", ".onnx", ".gguf")),
    "a pickle as": is_told(pickle.dumps({"w": [1.0]}), "a pickle, of which nothing was executed", NOT_TORCH),
    "safetensors as": is_told(WEIGHTS, "a safetensors file: rename it to .safetensors", SUFFIXES[1:]),
    "GGUF as": is_told(b"GGUF\3" + bytes(99), "a GGUF file: rename it to .gguf", (".safetensors", ".bin", ".onnx", ".npz")),
    "one array of numpy as": is_told(array(), "a single numpy array", (".safetensors", ".bin", ".onnx", ".npz")),
    "HDF5 as": is_told(b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file", SUFFIXES),
    "nothing as": is_told(b"", ""),
    "zeros as": is_told(bytes(4096), ""),
}

NAMES = {
    repr(name): works(name, with_bytes(save({"w": WEIGHT})), "w")
    for name in (
        "M.SAFETENSORS",
        "m",
        "m.ckpt",
        "my model (1).safetensors",
        'it\'s "so".safetensors',
        "м🧠.safetensors",
        "-m.safetensors",
    )
}


def elsewhere(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return what writes whole weights beside a path, and lets that lead to it."""

    def link(path: Path) -> None:
        path.with_name("elsewhere").write_bytes(save({"w": WEIGHT}))
        make(path)

    return link


def listening(path: Path) -> None:
    """Leave a socket that nobody listens at."""
    place = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{place}/{path.name}")  # of any length, which sun_path is not
    finally:
        os.close(place)


def unreadable(path: Path) -> None:
    path.write_bytes(WEIGHTS)
    path.chmod(0)


PLACES: dict[str, Case] = {
    "a link": works("m.safetensors", elsewhere(lambda path: path.symlink_to("elsewhere")), "w"),
    "a link to nothing": refused("m.safetensors", lambda path: path.symlink_to("gone"), r"cannot read .*m\.safetensors"),
    "a link in a circle": refused(
        "m.safetensors", lambda path: path.symlink_to("m.safetensors"), r"cannot read .*m\.safetensors"
    ),
    "a link to a device": refused(
        "m.safetensors", lambda path: path.symlink_to("/dev/zero"), r"m\.safetensors is no ordinary file"
    ),
    "a socket": refused("m.safetensors", listening, r"m\.safetensors is no ordinary file"),
    "nothing at all": refused("m.safetensors", lambda path: None, r"cannot read .*m\.safetensors: No such file"),
    "a folder with nothing in it": refused("m.safetensors", lambda path: path.mkdir(), r"m\.safetensors cannot be read as a"),
    "a folder called .pth": refused("m.pth", lambda path: path.mkdir(), r"m\.pth cannot be read as a"),
    **{
        f"a named pipe called {suffix}": refused(f"m{suffix}", lambda path: os.mkfifo(path), rf"m\{suffix} is no ordinary file")
        for suffix in SUFFIXES
    },
}
if os.geteuid():  # nothing is unreadable to root
    PLACES |= {f"unreadable {suffix}": refused(f"m{suffix}", unreadable, rf"cannot read .*m\{suffix}") for suffix in SUFFIXES}

CASES = {f"{kind} {suffix}": case for kind, cases in KINDS.items() for suffix, case in cases.items()} | NAMES | PLACES
