"""``moeplan fleet replan``: what becomes of a plan."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given
from moeplan.commands.fleet import Seconds
from moeplan.commands.help import Command, Group

app = typer.Typer(
    name="fleet",
    cls=Group,
    help="Plan the workers of several tiers, and what becomes of a plan.",
    rich_markup_mode=None,
)

PlanFile = Annotated[
    str, typer.Argument(metavar="PLAN", help="What `moeplan fleet --json` printed.")
]
Lost = Annotated[
    list[str] | None,
    typer.Option(
        "--lost",
        metavar="[MACHINE/]PART",
        help="What is lost, as `failed` of a cluster file has it, numbered from 0: 'domain 3', "
        "'gb200/server 5-7', 'gpu 12'; repeatable.",
    ),
]
Spares = Annotated[
    str | None,
    typer.Option(
        "--spares",
        metavar="N",
        help="Workers of each pool that may fail afterwards while all is served. [default: 0]",
    ),
]


@app.callback()
def _plans() -> None:
    pass


@app.command(
    cls=Command,
    epilog=given.examples(
        "moeplan fleet replan plan.json --lost 'domain 3'",
        "moeplan fleet replan plan.json --lost 'gb200/server 5-7' --lost 'b200/gpu 12' --json",
    ),
)
def replan(
    plan: PlanFile,
    lost: Lost = None,
    spares: Spares = None,
    seconds: Seconds = None,
    as_json: given.Json = False,
) -> None:
    """Plan anew on what a loss leaves: the fewest workers started or moved, of those the best.

    Exits with 1 where what is left does not serve all tiers, and says by how much.
    """
    from moeplan import api, numbers, output  # --help does without these
    from moeplan.render import fleet as render
    from presets import InfeasibleError
    from presets.demand_file import MOST_SPARES

    path = numbers.file_name("PLAN", plan)
    extra = 0 if spares is None else numbers.whole_number("--spares", spares, 0, MOST_SPARES, "")
    limit = None if seconds is None else numbers.positive_number("--seconds", seconds, "s")
    with output.progress("Plans looked at", None) as advance:
        answer = api.replan(path, lost or [], spares=extra, seconds=limit, progress=advance)
    if as_json:
        output.emit_json(answer.to_json())
    else:
        output.emit_report(render.report(answer))
    if answer.objective.amount is None:
        raise InfeasibleError(str(answer.reason))
