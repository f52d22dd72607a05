"""The two commands about packed files."""

from pathlib import Path

import typer

from ellq_client.cli.places import check_new
from ellq_client.cli.wording import harmless
from ellq_client.repacking import pack as pack_weights
from ellq_client.repacking import unpack as unpack_weights


def pack(path: Path, output: Path, *, force: bool, quiet: bool) -> None:
    """Pack a file or a folder and say how small it became."""
    if not path.is_dir():
        check_new(output, force=force)
    sizes = pack_weights(path, output)
    if not quiet:
        typer.echo(harmless(f"written    {output}, {sizes.told()}"))


def unpack(path: Path, output: Path, *, force: bool, quiet: bool) -> None:
    """Unpack a file or a folder."""
    if not path.is_dir():
        check_new(output, force=force)
    unpack_weights(path, output)
    if not quiet:
        typer.echo(harmless(f"written    {output}, dense; every digest holds"))
