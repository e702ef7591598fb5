"""``moeplan topology``: what the links of a cluster give."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given
from moeplan.commands.help import Command, Group

app = typer.Typer(
    name="topology",
    cls=Group,
    help="Show what the links of a cluster give.",
    rich_markup_mode=None,
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


File = Annotated[str, typer.Argument(metavar="FILE", help="Cluster file, YAML.")]


@app.callback()
def _group() -> None:
    pass


@app.command(cls=Command, epilog=given.examples("moeplan topology check cluster.yaml"))
def check(file: File) -> None:
    """Say all that is wrong in a cluster file; exit 2 where anything is."""
    from moeplan import numbers, output  # --help does without these
    from moeplan.render.topology import usable_sentence
    from presets import ClusterPools, InputError, cluster_faults, read_cluster
    from topology.cluster import read_layout

    path = numbers.file_name("FILE", file)
    faults = cluster_faults(path)
    if len(faults) > 1:
        error = InputError(f"{path}: {len(faults)} faults")
        for fault in faults:
            error.add_note(fault)
        raise error
    cluster = read_cluster(path)  # raises the only fault
    pools = cluster.pools if isinstance(cluster, ClusterPools) else {"": cluster}
    for name, spec in pools.items():
        read_layout(spec)
        said = f"{path}, pool {name}," if name else path
        output.emit(f"{said} is valid: {usable_sentence(spec)}")


Picture = Annotated[
    str, typer.Option("--output", metavar="FILE", help="Picture to write: .svg or .html.")
]
Plan = Annotated[
    str | None,
    typer.Option("--plan", metavar="FILE", help="What best or predict printed with --json."),
]

Pool = Annotated[
    str | None,
    typer.Option("--pool", metavar="NAME", help="Pool of the cluster, where it has several."),
]


@app.command(
    cls=Command,
    epilog=given.examples(
        "moeplan topology draw cluster.yaml --output cluster.svg",
        "moeplan topology draw cluster.yaml --output plan.html --plan answer.json",
    ),
)
def draw(file: File, destination: Picture, plan: Plan = None, pool: Pool = None) -> None:
    """Draw a cluster: switches, links by rate and load, domains, and workers where they sit."""
    from moeplan import numbers, output  # --help does without these
    from moeplan.answers.placement import read_placement
    from moeplan.render.picture import page, picture
    from presets import InputError, read_cluster
    from presets.cluster_file import pool_of
    from presets.errors import shown

    path = numbers.file_name("--output", destination)
    if path.suffix not in (".svg", ".html"):
        name = shown(path.name)
        raise InputError(f"--output: {name} is not valid; give a name that ends in .svg or .html")
    spec = pool_of(read_cluster(numbers.file_name("FILE", file)), pool)
    answer = None if plan is None else numbers.file_name("--plan", plan)
    placement = () if answer is None else read_placement(answer, spec)
    drawn = (page if path.suffix == ".html" else picture)(spec, placement)
    output.write_file("--output", path, drawn)


@app.command(cls=Command, epilog=EXAMPLES)
@given.takes("machine", "cluster", "pool")
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
    from presets import InputError, default_cluster, load_machine, read_cluster
    from presets.cluster_file import pool_of
    from topology import summarize_cluster

    size = None if gpus is None else numbers.whole_number("--gpus", gpus, 1, LARGEST_GPUS, "GPUs")
    machine, cluster = typed.get("machine"), typed.get("cluster")
    if [sku, machine, cluster].count(None) != 2:
        raise InputError("--sku, --machine and --cluster: give one of them, such as --sku b200")
    if cluster is not None:
        spec = pool_of(read_cluster(numbers.file_name("--cluster", cluster)), typed.get("pool"))
        spec = spec if size is None else spec.resized(size)
    else:
        own = None if machine is None else load_machine(numbers.file_name("--machine", machine))
        spec = default_cluster(own or str(sku), MAX_GPUS if size is None else size)
    result = summarize_cluster(spec)
    if as_json:
        output.emit_json(summary(spec, result))
    else:
        output.emit_report(report(spec, result))
