"""What lies in place of weights, by its first bytes, and what to do about it.

Nothing is opened for it: whoever could not read a file hands in how it begins, and tells a person what it is instead.
"""

PREFIX_BYTES = 9
"""Bytes that are enough to know it; of all but a safetensors file eight are."""

_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
_SAFETENSORS = b"\0\0\0{"
"""Behind the low bytes of the length of its header: one of a gigabyte would be none."""

_ANSWER = "such as a site sends in place of a file it does not give"
_TORCH = "rename it to .pth if torch.save wrote it"

_BEGINNINGS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"version ",), "a pointer of Git LFS, so the weights themselves were never fetched: run git lfs pull"),
    ((b"<!DOCTYP", b"<!doctyp", b"<html", b"<HTML", b"<head"), f"an HTML page, {_ANSWER}"),
    ((b"<?xml", b"<Error"), f"an XML document, {_ANSWER}"),
    ((b"\x1f\x8b",), "compressed by gzip: unpack it first"),
    ((b"BZh",), "compressed by bzip2: unpack it first"),
    ((b"\xfd7zXZ\0",), "compressed by xz: unpack it first"),
    ((b"\x28\xb5\x2f\xfd",), "compressed by Zstandard: unpack it first"),
    (_ZIPS, f"a zip archive, as PyTorch and numpy write them: {_TORCH}, to .npz if numpy did"),
    (_PICKLES, f"a pickle, of which nothing was executed: {_TORCH}"),
    ((b"GGUF",), "a GGUF file: rename it to .gguf"),
    ((b"\x93NUMPY",), "a single numpy array: save it by name, with numpy.savez, as .npz"),
    ((b"\x89HDF\r\n\x1a\n",), "an HDF5 file, as Keras and TensorFlow write them: save its weights as .safetensors"),
    ((b"{",), f"JSON text: an index, a configuration, or an answer {_ANSWER}"),
)
"""How files begin that lie where weights should, and what to say of them."""

_OWN: dict[str, tuple[bytes, ...]] = {".pth": (*_ZIPS, *_PICKLES), ".npz": _ZIPS, ".gguf": (b"GGUF",)}
"""How files of a format begin themselves, by one of its suffixes: there they are no mistake, but damaged."""


def mistaken(prefix: bytes | bytearray, *, suffixes: tuple[str, ...] = ()) -> str | None:
    """Return what a file that no reader of its format understood is instead; None when its beginning does not tell.

    `prefix` holds its first PREFIX_BYTES, `suffixes` are those of the format that it claims to have.
    """
    own = tuple(begin for suffix in suffixes for begin in _OWN.get(suffix, ()))
    if own and prefix.startswith(own):
        return None
    if suffixes and prefix.endswith(_SAFETENSORS, 5):
        return "a safetensors file: rename it to .safetensors"
    return next((told for begins, told in _BEGINNINGS if prefix.startswith(begins)), None)
