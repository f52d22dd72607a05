"""Writes the corpus: a folder for each case, with the odd or hostile thing in it.

    python -m tests.corpus.generate FOLDER

What must happen to each is said beside it, in the modules whose cases are gathered here.
"""

import argparse
from pathlib import Path

from tests.corpus import (
    not_weights,
    odd_folders,
    odd_gguf,
    odd_headers,
    odd_npz,
    odd_numbers,
    odd_onnx,
    odd_quantized,
    odd_torch,
)
from tests.corpus.cases import Case

CASES: dict[str, Case] = {
    f"{family}: {title}": case
    for family, cases in {
        "header": odd_headers.CASES,
        "numbers": odd_numbers.CASES,
        "quantized": odd_quantized.CASES,
        "PyTorch": odd_torch.CASES,
        "ONNX": odd_onnx.CASES,
        "GGUF": odd_gguf.CASES,
        "npz": odd_npz.CASES,
        "place": not_weights.CASES,
        "folder": odd_folders.CASES,
    }.items()
    for title, case in cases.items()
}
"""Every case by its title."""


def folder_of(title: str) -> str:
    """Return the name of a case's folder."""
    return "".join(sign if sign.isalnum() else "-" for sign in title)


def main() -> None:
    """Write every case and tell what must happen to it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for title, case in CASES.items():
        path = case.write(folder / folder_of(title))
        told = "works" if case.refused is None else f"{case.refused.error.__name__}: {case.refused.words}"
        print(f"{path.relative_to(folder)!s:70} {told}")


if __name__ == "__main__":
    main()
