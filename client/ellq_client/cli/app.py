"""What the command line understands. Light on purpose: whatever is heavy is imported by the command that needs it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ellq_client.cli.exits import EXPLAINED, Commands
from ellq_client.cli.options import Json, Quiet, Server, Timeout, requests_options

app = typer.Typer(
    name="ellq",
    cls=Commands,
    help="Tells how compressible a neural network is, compresses it, and shows what that costs.",
    epilog=EXPLAINED,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts faster
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ellq {version('ellq')}")
        raise typer.Exit


@app.callback()
def ellq(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Carries the options of `ellq` itself."""


@app.command(epilog=EXPLAINED)
@requests_options
def analyze(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .safetensors file.")],
    distribution: Annotated[
        bool, typer.Option("--distribution", help="Tell how the weights are distributed, in the report; costs a sort.")
    ] = False,
    json: Json = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --json when it exists.")] = False,
    server: Server = None,
    timeout: Timeout = 600.0,
    quiet: Quiet = False,
    **request: Any,
) -> None:
    """Measure the weights, or try a rule.

    Tells how compressible they are; with --rule, what it would keep and cost. Writes no weights.
    """
    from ellq_client.cli import calls

    manner = calls.Manner(server=server, timeout_seconds=timeout, quiet=quiet, json=json, force=force)
    calls.analyze(path, {**request, "distribution": distribution}, manner)


@app.command(epilog=EXPLAINED)
@requests_options
def compress(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .safetensors file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The .safetensors file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace OUT and the file of --json when they exist.")] = False,
    json: Json = None,
    server: Server = None,
    timeout: Timeout = 600.0,
    quiet: Quiet = False,
    **request: Any,
) -> None:
    """Compress the weights and certify the cost.

    Needs --rule.     The output has the size of the input: cut weights are zeros in it.
    """
    from ellq_client.cli import calls

    manner = calls.Manner(server=server, timeout_seconds=timeout, quiet=quiet, json=json, force=force)
    calls.compress(path, output, request, manner)


@app.command(epilog=EXPLAINED)
def verify(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The .safetensors file that was compressed.")],
    compressed: Annotated[Path, typer.Argument(metavar="COMPRESSED", help="The .safetensors file that came back.")],
    report: Annotated[
        Path | None, typer.Option("--report", metavar="REPORT", help="The report of --json: check every claim in it, too.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Check a compressed file, with no server.

    Holds it against its original and, with --report, every claim of a report against both.
    """
    from ellq_client.cli import calls

    calls.verify(original, compressed, report, quiet=quiet)


@app.command(epilog=EXPLAINED)
def capabilities(server: Server = None, timeout: Timeout = 60.0) -> None:
    """Tell what a server can do and what it refuses."""
    from ellq_client.cli import calls

    calls.capabilities(calls.Manner(server=server, timeout_seconds=timeout, quiet=False, json=None))


@app.command(
    add_help_option=False,  # the server explains its settings itself
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def serve(context: typer.Context) -> None:
    """Run a server; `ellq serve --help` says how."""
    from ellq_client.embedded import serve as serve_until_stopped

    raise typer.Exit(serve_until_stopped(context.args))
