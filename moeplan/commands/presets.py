"""``moeplan presets``: the facts that everything rests on, with their sources."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given
from moeplan.commands.help import Command, Group

app = typer.Typer(
    name="presets",
    cls=Group,
    help="Show machines, prices, models and measurements.",
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="One of `moeplan presets list`.")]
Rows = Annotated[
    str, typer.Option("--rows", metavar="COUNT", help="Rows of a measurement table to show.")
]
Toml = Annotated[
    bool, typer.Option("--toml", help="Print a machine as a file to start one of your own from.")
]


@app.callback()
def _group() -> None:
    pass


@app.command(
    "list",
    cls=Command,
    epilog=given.examples("moeplan presets list", "moeplan presets list --json"),
)
def list_presets(as_json: given.Json = False) -> None:
    """List machines, NICs, sets of prices, models and measurement tables by name."""
    from moeplan import output  # --help does without these
    from moeplan.catalogue import listing
    from moeplan.render.presets import list_report

    entries = listing()
    if as_json:
        output.emit_json({kind: [dict(entry) for entry in each] for kind, each in entries.items()})
    else:
        output.emit_report(list_report(entries))


@app.command(
    cls=Command,
    epilog=given.examples(
        "moeplan presets show gb200",
        "moeplan presets show 2026-07",
        "moeplan presets show deepseek-r1-0528",
        "moeplan presets show measured_serving --rows 5",
        "moeplan presets show alltoall_latency --csv",
        "moeplan presets show b200 --toml > machine.toml",
    ),
)
def show(
    name: Name,
    rows: Rows = "20",
    as_json: given.Json = False,
    as_csv: given.Csv = False,
    as_toml: Toml = False,
) -> None:
    """Show one machine, NIC, set of prices, model or measurement table with its sources.

    --csv prints all rows of a measurement table; --json prints everything; --toml prints a machine
    as a file for --machine.
    """
    from moeplan import numbers, output  # --help does without these
    from moeplan.catalogue import machine_toml, preset_of
    from moeplan.render.presets import preset_report

    given.one_format(json=as_json, csv=as_csv, toml=as_toml)
    count = numbers.whole_number("--rows", rows, 1, 100_000, "rows")
    found = preset_of(name)
    if as_json:
        output.emit_json(found.content())
    elif as_csv:
        output.emit_csv(found.lines())
    elif as_toml:
        output.emit(machine_toml(name))
    else:
        output.emit_report(preset_report(found, count))
