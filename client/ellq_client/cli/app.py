"""What the command line understands. Light on purpose: whatever is heavy is imported by the command that needs it."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ellq_client.cli.exits import EXPLAINED, Commands, ending_as_by_ctrl_c
from ellq_client.cli.options import (
    BoxBounds,
    Force,
    ForceReport,
    Json,
    Margins,
    MomentsFile,
    NetworkFile,
    OutputEncoding,
    Quiet,
    Radius,
    Server,
    Streams,
    Timeout,
    VerificationJson,
    local_path,
    request_options,
    shared_options,
)
from ellq_client.cli.tls_options import tls_options
from ellq_client.uris import place_of

LOCAL = ".safetensors (dense or packed), .pth, .onnx, .gguf, .npz, or a folder of shards"
PLAIN = "On this machine: .safetensors, .pth, .onnx, .gguf, .npz, or a folder of shards."
OUTPUT = "What to write: a .safetensors file, or one of the format of PATH; of a folder a new folder; or a URI for the server."
CHECKPOINT = "A checkpoint: .safetensors, .pth, .onnx, .gguf or .npz, a folder of shards, or a URI for the server to read."

app = typer.Typer(
    name="ellq",
    cls=Commands,
    help="Tells how compressible a neural network is, compresses it, and shows what that costs.",
    epilog=EXPLAINED,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts faster
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ellq {version('ellq')}")
        raise typer.Exit


@app.callback()
def ellq(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Carries the options of `ellq` itself."""
    if context.invoked_subcommand != "serve":
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what gRPC prints of a failed handshake, our own message says
        context.with_resource(ending_as_by_ctrl_c())


@app.command(epilog=EXPLAINED)
@shared_options(request_options, tls_options)
def analyze(
    path: Annotated[Any, typer.Argument(metavar="PATH", help=CHECKPOINT, parser=place_of)],
    distribution: Annotated[
        bool, typer.Option("--distribution", help="Tell how the weights are distributed, in the report; costs a sort.")
    ] = False,
    json: Json = None,
    force: ForceReport = False,
    server: Server = None,
    timeout: Timeout = 600.0,
    quiet: Quiet = False,
    **words: Any,
) -> None:
    """Measure the weights, or try a rule.

    Tells how compressible they are; with --rule, what it would keep and cost. Writes no weights.
    """
    from ellq_client.cli import calls

    manner = calls.Manner(server=server, tls=words, timeout_seconds=timeout, quiet=quiet, json=json, force=force)
    calls.analyze(path, {**words, "distribution": distribution}, manner)


@app.command(epilog=EXPLAINED)
@shared_options(request_options, tls_options)
def compress(
    path: Annotated[Any, typer.Argument(metavar="PATH", help=CHECKPOINT, parser=place_of)],
    output: Annotated[Any, typer.Option("--output", "-o", metavar="OUT", help=OUTPUT, parser=place_of)],
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT (never a folder) and the file of --json when they exist.")
    ] = False,
    json: Json = None,
    server: Server = None,
    timeout: Timeout = 600.0,
    streams: Streams = None,
    encoding: OutputEncoding = "dense",
    quiet: Quiet = False,
    **words: Any,
) -> None:
    """Compress the weights and certify the cost.

    Needs --rule. The output has the size of the input, with zeros for cut weights, unless it is packed. A folder is
    compressed shard by shard; after an interruption the same command goes on.
    """
    from ellq_client.cli import calls

    manner = calls.Manner(
        server=server, tls=words, timeout_seconds=timeout, quiet=quiet, json=json, force=force, streams=streams
    )
    calls.compress(path, output, {**words, "encoding": encoding}, manner)


@app.command(epilog=EXPLAINED)
def pack(
    path: Annotated[Path, typer.Argument(metavar="PATH", help=PLAIN, parser=local_path)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="The .safetensors file; of a folder a new one.", parser=local_path),
    ],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Store weights losslessly in fewer bytes.

    No weight changes and no server is needed; `ellq unpack` gives back the very file. Of .pth, .onnx, .gguf and .npz it
    keeps the tensors alone, which come back as .safetensors.
    """
    from ellq_client.cli import packing

    packing.pack(path, output, force=force, quiet=quiet)


@app.command(epilog=EXPLAINED)
def unpack(
    path: Annotated[
        Path,
        typer.Argument(metavar="PACKED", help="A packed local file, or a folder of packed shards.", parser=local_path),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DENSE", help="The file or the new folder to write.", parser=local_path),
    ],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Give back the dense file of a packed one, byte for byte."""
    from ellq_client.cli import packing

    packing.unpack(path, output, force=force, quiet=quiet)


@app.command(epilog=EXPLAINED)
def verify(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help=f"What was compressed: {LOCAL}.", parser=local_path)],
    compressed: Annotated[Path, typer.Argument(metavar="COMPRESSED", help="What came back of it.", parser=local_path)],
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="REPORT", help="The report of --json: check every claim in it, too.", parser=local_path
        ),
    ] = None,
    network: NetworkFile = None,
    moments: MomentsFile = None,
    box: BoxBounds = None,
    l2_radius: Radius = None,
    margins: Margins = None,
    json: VerificationJson = None,
    force: ForceReport = False,
    quiet: Quiet = False,
) -> None:
    """Check a compressed file, with no server.

    Holds it against its original and, with --report, every claim of a report against both. What was given for the
    compression as --network, --moments, --box, --l2-radius and --margins is needed again to check what rests on it.
    """
    from ellq_client.cli import calls

    words = {"network": network, "moments": moments, "box": box, "l2_radius": l2_radius, "margins": margins}
    calls.verify(original, compressed, report, words, json=json, force=force, quiet=quiet)


@app.command(epilog=EXPLAINED)
def network(
    path: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="An ONNX model.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The JSON file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace OUT when it exists.")] = False,
    quiet: Quiet = False,
) -> None:
    """Derive a network from ONNX, for --network.

    What it cannot express becomes a step without a bound, and is named.
    """
    from ellq_client.cli import networks

    networks.write_network_of_onnx(path, output, force=force, quiet=quiet)


@app.command(epilog=EXPLAINED)
def shrink(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .safetensors file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The smaller .safetensors file to write.")],
    network: Annotated[Path, typer.Option("--network", metavar="FILE", help="How its tensors make up a network (JSON).")],
    force: Annotated[bool, typer.Option("--force", help="Replace OUT and its network when they exist.")] = False,
    quiet: Quiet = False,
) -> None:
    """Take dead neurons out for good.

    Rows that nothing uses go, with the weights that read them. OUT has smaller tensors and computes the same; the network of
    OUT is written beside it, as OUT with the ending .network.json.
    """
    from ellq_client.cli import networks

    networks.shrink(path, output, network, force=force, quiet=quiet)


@app.command(epilog=EXPLAINED)
@shared_options(tls_options)
def capabilities(server: Server = None, timeout: Timeout = 60.0, **words: Any) -> None:
    """Tell what a server can do and what it refuses."""
    from ellq_client.cli import calls

    calls.capabilities(calls.Manner(server=server, tls=words, timeout_seconds=timeout, quiet=False, json=None))


@app.command(
    add_help_option=False,  # the server explains its settings itself
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def serve(context: typer.Context) -> None:
    """Run a server; `ellq serve --help` says how."""
    from ellq_client.embedded import serve as serve_until_stopped

    raise typer.Exit(serve_until_stopped(context.args))
