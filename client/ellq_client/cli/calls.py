"""What the commands do once their options are understood."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import typer

from ellq_client.channels import server_address
from ellq_client.cli import choices
from ellq_client.cli.networks import moments_of, network_of
from ellq_client.cli.places import check_new, check_report
from ellq_client.cli.progress import Work, follow, work_on
from ellq_client.cli.tables import Screen
from ellq_client.cli.tls_options import tls_of
from ellq_client.cli.wording import harmless, in_options
from ellq_client.client import Client, Run
from ellq_client.folders.files import PROGRESS
from ellq_client.folders.finished import REPORT
from ellq_client.partial_file import write_file
from ellq_client.permissions import ORDINARY
from ellq_client.report import FolderCompression, report_text, write_report
from ellq_client.requests import Request
from ellq_client.results import Analysis, Compression
from ellq_client.rules import Rule
from ellq_client.uris import is_uri

_RULE_OPTIONS = (
    "q", "p", "eta", "gamma", "beta", "epsilon", "ratio", "n", "m", "max_error", "grade", "measured",
)  # fmt: skip
_STANDARD_OUTPUT = "-"
_REMARKS = {"server.encodings": " (packed is made by the client, with any server)"}
"""What a fact about a server does not tell, by its name."""


@dataclass(frozen=True)
class Manner:
    """How a command behaves, whatever it computes."""

    server: str | None
    tls: Mapping[str, Any]
    """The options of TLS, among others."""
    timeout_seconds: float
    quiet: bool
    json: str | None
    force: bool = False
    streams: int | None = None
    """Shards under way at a time; None: as the client chooses."""

    @property
    def embedded(self) -> bool:
        """Whether the service runs in this process."""
        return server_address(self.server).uri is None

    @property
    def report(self) -> Path | None:
        """The file for the report; None when there is none, or it goes to standard output."""
        return report_place(self.json)

    def client(self) -> Client:
        """Return the client. Errors: BadParameter for an address that is none, or half of what TLS needs."""
        try:
            tls = tls_of(self.tls)
        except ValueError as error:
            raise typer.BadParameter(in_options(str(error)), param_hint="--tls") from error
        try:
            return Client(self.server, tls=tls, timeout_seconds=self.timeout_seconds, streams=self.streams)
        except ValueError as error:
            raise typer.BadParameter(in_options(str(error)), param_hint="--server") from error


def report_place(json: str | None) -> Path | None:
    """Return the file that --json names; None when there is none, or it is standard output."""
    return None if json in (None, _STANDARD_OUTPUT) else Path(json)


def analyze(path: Path | str, words: Mapping[str, Any], manner: Manner) -> None:
    """Analyse a file or a folder and show what was found."""
    options = _options(words)
    _check_places(path, None, manner)
    work = work_on(path)
    with manner.client() as client, client.analyze(path, **options, distribution=words["distribution"]) as run:
        _show(run, work, manner)


def compress(path: Path | str, output: Path | str, words: Mapping[str, Any], manner: Manner) -> None:
    """Compress a file, a folder or an object, and show what that costs. A URI is the server's to open, and to check."""
    options = _options(words)
    options["encoding"] = choices.one_of(choices.ENCODINGS, words["encoding"], option="--encoding")
    if options["rule"] is None:
        raise typer.BadParameter(f"needed; one of {', '.join(choices.RULE_OPTIONS)}", param_hint="--rule")
    # a folder's output is checked by the run: it may be one that is half finished
    if not is_uri(output) and (is_uri(path) or not os.path.isdir(path)):
        check_new(Path(output), force=manner.force)
    # a run over a finished folder does nothing but confirm it, so its report may be there, too
    finished = isinstance(output, Path) and (output / REPORT).is_file() and not os.path.lexists(output / PROGRESS)
    _check_places(path, output, replace(manner, force=manner.force or finished))
    work = work_on(path, output)
    try:
        with manner.client() as client, client.compress(path, output, replace_output=manner.force, **options) as run:
            _show(run, work, manner)
    except KeyboardInterrupt as stop:
        if isinstance(output, Path) and (output / PROGRESS).is_dir():
            stop.add_note(f"what is finished is kept in {output}; the same command goes on from there")
        raise


def verify(
    original: Path,
    compressed: Path,
    report: Path | None,
    words: Mapping[str, Any],
    *,
    json: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Check a compressed file and say what was checked."""
    from ellq_client.verifying import verify as check
    from ellq_client.verifying.pairs import verification_text

    place = report_place(json)
    if place is not None:
        taken = {"the original itself": original, "the compressed file itself": compressed, "the report itself": report}
        check_report(place, taken=taken, force=force)
    if report is None:
        for name in ("network", "moments"):
            if words[name] is not None:
                raise typer.BadParameter("serves to check the claims of a --report, but none is given", param_hint=f"--{name}")
    network, moments = network_of(words), moments_of(words["moments"])
    verification = check(original, compressed, report, network=network, moments=moments)
    if json == _STANDARD_OUTPUT:
        sys.stdout.write(verification_text(verification))
    elif place is not None:
        write_file(place, [verification_text(verification).encode()], permissions=ORDINARY, replace=force)
    if not quiet:
        typer.echo(verification.told(), err=json == _STANDARD_OUTPUT)


def capabilities(manner: Manner) -> None:
    """Print what the server can do, one fact a line."""
    with manner.client() as client:
        for line in _facts("server", client.capabilities()):
            typer.echo(harmless(line + _REMARKS.get(line.partition(": ")[0], "")))


def _facts(name: str, value: Any) -> list[str]:
    if is_dataclass(value):
        return [line for field in fields(value) for line in _facts(f"{name}.{field.name}", getattr(value, field.name))]
    told = value if isinstance(value, str | int | float) else ", ".join(map(str, value))
    return [f"{name}: {told}"]


def _options(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of the client. Errors: BadParameter naming the option that is wrong."""
    given = {name.replace("_", "-"): words[name] for name in _RULE_OPTIONS}
    options: dict[str, Any] = {
        "rule": _rule(words, given),
        "include": words["include"] or (),
        "exclude": words["exclude"] or (),
        "overrides": choices.overrides_of(words["override"] or ()),
        "nonfinite": choices.one_of(choices.NONFINITE, words["nonfinite"], option="--nonfinite").replace("-", "_"),
        "ignore_zeros": words["ignore_zeros"],
        "neurons": words["neurons"],
        "q": words["index_q"],
        "pq": words["index_pq"],
        "magnitudes_only": words["magnitudes_only"],
        "remove_dead_neurons": words["remove_dead_neurons"],
    }
    if words["magnitudes_only"] and words["moments"] is None:
        raise typer.BadParameter("says something about moments, but no --moments are given", param_hint="--magnitudes-only")
    Request(**options).analyze_options()  # what cannot be asked is told before a server is started
    return {**options, "network": network_of(words), "moments": moments_of(words["moments"])}


def _rule(words: Mapping[str, Any], given: Mapping[str, Any]) -> Rule | None:
    if words["rule"] is not None:
        return choices.rule_of(words["rule"], given, scope=words["scope"])
    for option, value in {**given, "scope": words["scope"]}.items():
        if value is not None and value is not False:
            raise typer.BadParameter("says something about a rule, but no --rule is given", param_hint=f"--{option}")
    return None


def _check_places(source: Path | str, output: Path | str | None, manner: Manner) -> None:
    if manner.report is not None:
        check_report(manner.report, taken={"the source itself": source, "the output, too": output}, force=manner.force)


def _show(run: Run[Analysis] | Run[Compression], work: Work, manner: Manner) -> None:
    """Follow a run to its end and show the result."""
    follow(run, work, embedded=manner.embedded, quiet=manner.quiet)
    result = run.result()
    if manner.json == _STANDARD_OUTPUT:
        sys.stdout.write(report_text(result))
    elif manner.report is not None:
        _write(result, manner.report, force=manner.force)
    if not manner.quiet:
        Screen(to_stderr=manner.json == _STANDARD_OUTPUT).show(result)


def _write(result: Analysis, report: Path, *, force: bool) -> None:
    """Write a report. One that a run confirmed may be there already, if it says the same. Errors: OutputError."""
    if isinstance(result, FolderCompression) and result.confirmed:
        with suppress(OSError):
            if report.read_text(encoding="utf-8") == report_text(result):
                return
        check_new(report, force=force)
    write_report(result, report, replace=force)
