"""safetensors: headers that lie, and headers that are merely strange."""

import json
from functools import partial

from ellq_client import MalformedWeights
from tests.corpus.cases import Case, Make, refused, works
from tests.corpus.headers import ENTRY, WEIGHT, entry, stream, weight, with_bytes, with_header, with_tensors, with_text

fine, bad = partial(works, "m.safetensors"), partial(refused, "m.safetensors")

PLAIN = json.dumps({"w": ENTRY})
HALVES = WEIGHT[:2].tobytes()


def malformed(make: Make, words: str) -> Case:
    """Return a case that looks whole from here, and that the server refuses."""
    return bad(make, words, error=MalformedWeights, reason="MALFORMED_WEIGHTS")


def named(name: str) -> Make:
    """Return what writes a file of one tensor of this name."""
    return with_tensors({name: weight()})


STRANGE = {
    "spaces behind the header": fine(with_text(PLAIN + " " * 777), "w"),
    "offsets in no order": fine(
        with_header({"last": entry("F32", (2, 8), 64, 128), "first": entry("F32", (2, 8), 0, 64)}),
        "first",
        "last",
    ),
    "metadata last": fine(with_header({"w": ENTRY, "__metadata__": {"format": "pt"}}), "w"),
    "metadata empty": fine(with_header({"__metadata__": {}, "w": ENTRY}), "w"),
    "metadata with newlines and quotes": fine(with_tensors({"w": weight()}, a='"\n\0\u2028', b="{}"), "w"),
    "name outside of ASCII": fine(named("слой.重み.🧠"), "слой.重み.🧠"),
    "name with slashes and dots": fine(named("../../etc/passwd"), "../../etc/passwd"),
    "name with control characters": fine(named("a\nb\r\t\x1b[31m\0c"), "a\nb\r\t\x1b[31m\0c"),
    "name with the signs of globs": fine(named("w[0]*?{x}"), "w[0]*?{x}"),
    "name of 4096 bytes": fine(named("n" * 4096), "n" * 4096),
    "names that differ only by normal form": fine(with_tensors({"\u00e9": weight(), "e\u0301": weight()}), "\u00e9", "e\u0301"),
    "no tensors": fine(with_text("{}", b"")),
    "nothing but metadata": fine(with_text('{"__metadata__":{"format":"pt"}}', b"")),
}

FALSE = {
    "key twice": malformed(with_text(f'{{"w":{json.dumps(ENTRY)},"w":{json.dumps(ENTRY)}}}'), r"'w' more than once"),
    "name of 4097 bytes": malformed(named("n" * 4097), "has 4097 bytes"),
    "metadata of numbers": malformed(with_header({"__metadata__": {"epoch": 3}, "w": ENTRY}), "map strings to strings"),
    "metadata in metadata": malformed(with_header({"__metadata__": {"a": {}}, "w": ENTRY}), "map strings to strings"),
    "metadata null": malformed(with_header({"__metadata__": None, "w": ENTRY}), "map strings to strings"),
    "metadata that is a tensor": malformed(
        with_header({"__metadata__": entry("F32", (0, 8), 0, 0)}, b""), "map strings to strings"
    ),
    "entry with more": malformed(with_header({"w": {**ENTRY, "offset": 0}}), "'w' must have exactly"),
    "dtype unknown": malformed(with_header({"w": entry("F128", (4, 2), 0, 128)}), "'w' has dtype 'F128'"),
    "offsets as floats": bad(with_header({"w": entry("F32", (4, 8), 0.0, 128.0)}), "'w'"),
    "offsets as text": bad(with_header({"w": entry("F32", (4, 8), "0", "128")}), "'w'"),
    "shape with true": bad(with_header({"w": entry("F32", (True, 32), 0, 128)}), "'w'"),
    "33 axes": bad(with_header({"w": entry("F32", (*[1] * 31, 4, 8), 0, 128)}), "'w'"),
    "byte order mark": bad(with_text("\ufeff" + PLAIN), r"m\.safetensors .*does not hold together"),
    "header not UTF-8": bad(with_text(PLAIN.replace("w", "\xff").encode("latin1")), r"m\.safetensors .*utf-8"),
    "half of a character": bad(with_text(PLAIN.replace("w", "\\ud800")), "surrogate"),
    "header a list": bad(with_text("[]", b""), r"m\.safetensors .*does not hold together"),
    "entry a number": bad(with_header({"w": 7}), r"m\.safetensors .*does not hold together"),
    "entry without offsets": bad(with_header({"w": {"dtype": "F32", "shape": [4, 8]}}), "data_offsets"),
    "numbers that are none": bad(with_text(PLAIN.replace("128", "NaN")), r"m\.safetensors"),
    "number of 5000 digits": bad(with_text(PLAIN.replace("128", "1" * 5000)), r"m\.safetensors"),
    "lists in lists": bad(with_text('{"w":' + "[" * 100_000 + "]" * 100_000 + "}"), r"m\.safetensors"),
    "shape of another length": bad(with_header({"w": entry("F32", (4, 9), 0, 128)}), "'w' has the wrong place or length"),
    "shape beyond all numbers": bad(with_header({"w": entry("F32", (2**40, 2**40), 0, 128)}), "'w'"),
    "shape below zero": bad(with_header({"w": entry("F32", (-4, 8), 0, 128)}), "'w'"),
    "two shapes below zero": bad(with_header({"w": entry("F32", (-4, -8), 0, 128)}), "'w'"),
    "gap": bad(with_header({"w": entry("F32", (4, 4), 64, 128)}), "'w' has the wrong place"),
    "overlap": bad(
        with_header({"w": ENTRY, "v": entry("F32", (2, 8), 64, 128)}),
        "'v' has the wrong place",
    ),
    "end before begin": bad(with_header({"w": entry("F32", (4, 8), 128, 0)}), "'w' has the wrong place"),
    "offsets below zero": bad(with_header({"w": entry("F32", (4, 8), -128, 0)}), "'w' has data_offsets"),
    "cut off in a tensor": bad(with_bytes(stream(PLAIN)[:-9]), r"m\.safetensors is cut off"),
    "cut off in the header": bad(with_bytes(stream(PLAIN)[:30]), "cut off in its header"),
    "cut off in the length": bad(with_bytes(b"\x10\0\0"), "it ends after 3 bytes"),
    "bytes behind the last": bad(with_text(PLAIN, HALVES * 3), "64 bytes after its last tensor"),
    "header of no length": bad(with_text(PLAIN, length=0), r"m\.safetensors is no safetensors file"),
    "header longer than the file": bad(with_text(PLAIN, length=10_000), "header would be 10008 bytes long"),
    "header of 2**63 bytes": bad(with_text(PLAIN, length=2**63), "header would be 9223372036854775816 bytes"),
    "header shorter than it is": bad(with_text(PLAIN, length=20), r"m\.safetensors .*does not hold together"),
}

CASES = {**STRANGE, **FALSE}
