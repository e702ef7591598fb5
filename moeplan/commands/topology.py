"""``moeplan topology``: what the links of a cluster give."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given

app = typer.Typer(
    name="topology", help="Show what the links of a cluster give.", rich_markup_mode=None
)

Gpus = Annotated[
    str | None,
    typer.Option(
        "--gpus", metavar="GPUS", help="Size of the cluster. [default: 72, or the file's]"
    ),
]

EXAMPLES = given.examples(
    "moeplan topology show --sku b200 --gpus 32",
    "moeplan topology show --cluster cluster.yaml --json",
)


@app.callback()
def _group() -> None:
    pass


@app.command(epilog=EXAMPLES)
@given.takes("cluster")
def show(
    *,
    sku: given.Sku = None,
    typed: given.Typed,
    gpus: Gpus = None,
    as_json: given.Json = False,
) -> None:
    """Show the NVLink domains, the links, and the all-to-all rate per GPU by EP width."""
    from moeplan import numbers, output  # --help does without these
    from moeplan.options import LARGEST_GPUS, MAX_GPUS
    from moeplan.render.topology import report, summary
    from presets import InputError, default_cluster, load_cluster
    from topology import summarize_cluster

    size = None if gpus is None else numbers.whole_number("--gpus", gpus, 1, LARGEST_GPUS, "GPUs")
    cluster = typed.get("cluster")
    if (sku is None) == (cluster is None):
        raise InputError("--sku and --cluster: give one of the two, such as --sku b200")
    if cluster is not None:
        spec = load_cluster(numbers.file_name("--cluster", cluster))
        spec = spec if size is None else spec.model_copy(update={"gpus": size})
    else:
        spec = default_cluster(str(sku), MAX_GPUS if size is None else size)
    result = summarize_cluster(spec)
    if as_json:
        output.emit_json(summary(spec, result))
    else:
        output.emit_report(report(spec, result))
