"""The options that commands share, each described once."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ellq_client.uris import is_uri


def shared_options(*groups: Callable[..., dict[str, Any]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the parameters of each group in place of its `**words`."""
    shared = [each for group in groups for each in inspect.signature(group).parameters.values()]

    def give(command: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
        parameters = [each.replace(kind=each.KEYWORD_ONLY) for each in (*own, *shared)]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return give


def local_path(place: str) -> Path:
    """Return a path on this machine. Errors: BadParameter for a URI."""
    if is_uri(place):
        raise typer.BadParameter("a URI is read by a server; this command takes local files")
    return Path(place)


def _report(place: str) -> str:
    if is_uri(place):
        raise typer.BadParameter("a report is written to a local file, also when a server reads and writes the weights")
    return place


Server = Annotated[
    str | None,
    typer.Option("--server", help="host:port or gRPC address. Default: ELLQ_SERVER, else a service inside this process."),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=0.001,
        envvar="ELLQ_TIMEOUT",
        show_default=True,
        help="Seconds that everything may take, retries included; of a folder: each shard.",
    ),
]
Streams = Annotated[
    int | None,
    typer.Option(
        "--streams",
        min=1,
        metavar="N",
        help="Shards of a folder under way at a time, over all replicas of the server; changes no byte of what comes out. "
        "Default: one for each address of the server, at most 8.",
    ),
]
OutputEncoding = Annotated[
    str,
    typer.Option(
        "--encoding",
        metavar="ENCODING",
        help="dense (zeros in place of cut weights: what runtimes read) or packed (lossless, in few bytes; ellq unpack).",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output when it is a file that exists.")]
ForceReport = Annotated[bool, typer.Option("--force", help="Replace the file of --json when it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No table and no progress; errors only.")]
Json = Annotated[
    Any,
    typer.Option("--json", metavar="FILE", help="Write the machine-readable report; - is standard output.", parser=_report),
]
VerificationJson = Annotated[
    Any,
    typer.Option(
        "--json", metavar="FILE", help="Write what was checked and what was not; - is standard output.", parser=_report
    ),
]

RuleName = Annotated[
    str | None,
    typer.Option(
        "--rule",
        metavar="RULE",
        help="sparsity-index, pq-index (necessary counts that adapt, NO guarantee); tail, lq-bound (the cut costs at most "
        "epsilon of the norm, guaranteed); fraction, n-of-m (fixed shares, NO guarantee); error-budget (guaranteed: the root "
        "mean square of no output's change over the --moments, or with --grade box no change in the --box, exceeds "
        "--max-error; needs --network and --moments or --box); lasso (refits what it keeps; each neuron "
        "loses at most epsilon on the --moments, guaranteed).",
    ),
]
Scope = Annotated[
    str | None, typer.Option(help="neuron (each row for itself, the default), layer (each tensor) or global (all as one).")
]
Q = Annotated[float | None, typer.Option("--q", help="sparsity-index, lq-bound: in [0.05, 1), 0.5. pq-index: in (p, 2], 1.")]
P = Annotated[float | None, typer.Option("--p", help="pq-index: in [0.05, 2), 0.5. tail, lq-bound: 1 or 2 (the norm), 2.")]
Eta = Annotated[float | None, typer.Option("--eta", help="sparsity-index, pq-index: slack, at least 0, 0.")]
Gamma = Annotated[float | None, typer.Option("--gamma", help="pq-index: scale of the pruned share, above 0, 1.")]
Beta = Annotated[float | None, typer.Option("--beta", help="pq-index: largest pruned share, in (0, 1], 0.9.")]
Epsilon = Annotated[
    float | None,
    typer.Option(
        "--epsilon", help="tail, lq-bound: share of the norm; lasso: of the neuron's root mean square; in (0, 1). Required."
    ),
]
Ratio = Annotated[
    float | None,
    typer.Option("--ratio", help="fraction: share to prune, in (0, 1). Required. error-budget: the same, at the least cost."),
]
N = Annotated[float | None, typer.Option("--n", help="n-of-m: weights kept of every m, 2.")]
M = Annotated[float | None, typer.Option("--m", help="n-of-m: length of a group, 4.")]

MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-error", help="error-budget: most that any output may change, as --grade measures it, above 0. It or --ratio."
    ),
]
Grade = Annotated[
    str | None,
    typer.Option(
        help="error-budget: mean-square (root mean square over the --moments, the default) or box (every input in --box)."
    ),
]
Measured = Annotated[
    bool, typer.Option("--measured", help="error-budget: spend by measured certificates: cuts more for the same guarantee.")
]

NetworkFile = Annotated[
    Path | None,
    typer.Option("--network", metavar="FILE", help="How the tensors make up a network (JSON): certifies the whole network."),
]
MomentsFile = Annotated[
    Path | None,
    typer.Option("--moments", metavar="FILE", help="A saved calibration. Weights are then weighed by how large inputs are."),
]
BoxBounds = Annotated[
    tuple[float, float] | None, typer.Option("--box", metavar="LOW HIGH", help="Every input value lies between these.")
]
Radius = Annotated[float | None, typer.Option("--l2-radius", help="The l_2 norm of every input is at most this.")]
Margins = Annotated[
    Path | None,
    typer.Option(
        "--margins",
        metavar="FILE",
        help="How far the largest output lies above the second, sample by sample (.npy, text or a calibration).",
    ),
]
MagnitudesOnly = Annotated[
    bool, typer.Option("--magnitudes-only", help="Use --moments for certificates alone, not for indices and choice.")
]
RemoveDead = Annotated[
    bool, typer.Option("--remove-dead-neurons", help="Cut the rows of neurons that nothing uses any more. Needs --network.")
]

IndexQ = Annotated[float | None, typer.Option("--index-q", help="Order of the SI_q to report. Default: the rule's, else 0.5.")]
IndexPq = Annotated[
    tuple[float, float] | None,
    typer.Option("--index-pq", metavar="P Q", help="Orders of the PQI to report. Default: those of pq-index, else 0.5 1."),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="GLOB",
        help="Take in tensors that are left alone for their names: *embed*, *wte.*, *wpe.*, *lm_head*. Repeatable. Tensors "
        "with fewer than two dimensions are never touched.",
    ),
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave tensors untouched. Repeatable.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="GLOB=WHAT",
        help="An exception by name: GLOB=skip; GLOB=axis:1 (the neurons are axis 1, for weights stored (in, out)); "
        "GLOB=tail:epsilon=0.01,scope=layer (another rule). Repeatable, later ones win.",
    ),
]
Nonfinite = Annotated[str, typer.Option("--nonfinite", metavar="POLICY", help="NaN or infinity: refuse, or pass-through.")]
IgnoreZeros = Annotated[bool, typer.Option("--ignore-zeros", help="Count only non-zero weights, for models pruned already.")]
Neurons = Annotated[bool, typer.Option("--neurons", help="Put every neuron into the report, too.")]


def request_options(
    *,
    rule: RuleName = None,
    q: Q = None,
    p: P = None,
    eta: Eta = None,
    gamma: Gamma = None,
    beta: Beta = None,
    epsilon: Epsilon = None,
    ratio: Ratio = None,
    n: N = None,
    m: M = None,
    scope: Scope = None,
    index_q: IndexQ = None,
    index_pq: IndexPq = None,
    include: Include = None,
    exclude: Exclude = None,
    override: Overrides = None,
    nonfinite: Nonfinite = "refuse",
    ignore_zeros: IgnoreZeros = False,
    neurons: Neurons = False,
    max_error: MaxError = None,
    grade: Grade = None,
    measured: Measured = False,
    network: NetworkFile = None,
    moments: MomentsFile = None,
    box: BoxBounds = None,
    l2_radius: Radius = None,
    margins: Margins = None,
    magnitudes_only: MagnitudesOnly = False,
    remove_dead_neurons: RemoveDead = False,
) -> dict[str, Any]:
    """Return everything that decides the answer, by name."""
    return locals()
