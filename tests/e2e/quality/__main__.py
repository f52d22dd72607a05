"""Prints the table of docs/real_models.md: every model before and after, by each rule, with the certificate beside it.

python -m tests.e2e.quality
"""

import tempfile
from pathlib import Path

from tests.e2e.quality.subjects import RULES, SUBJECTS, compressed

from ellq_client import Client

HEAD = ("model", "what is measured", "before", "rule", "kept", "certificate", "after")


def main() -> None:
    """Run everything; a minute or two."""
    print(row(*HEAD), row(*["---"] * len(HEAD)), sep="\n")
    with Client() as client:
        for subject in SUBJECTS:
            with tempfile.TemporaryDirectory() as place:
                source = subject.make(Path(place))
                before = f"{subject.quality(source):.3f}"
                for number, (name, rule) in enumerate(RULES.items()):
                    folder = Path(place) / str(number)
                    folder.mkdir()
                    outcome = compressed(client, subject, source, rule, folder)
                    summary = outcome.result.summary
                    assert summary.kept is not None
                    assert summary.frobenius_ratio is not None
                    kept = f"{summary.kept / summary.weights:.1%}"
                    told = (subject.name, subject.asked, before) if not number else ("", "", "")
                    print(row(*told, name, kept, f"{summary.frobenius_ratio:.4f}", f"{outcome.quality:.3f}"), flush=True)


def row(*cells: str) -> str:
    """Return a line of the table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
