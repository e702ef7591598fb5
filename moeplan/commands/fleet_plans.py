"""``moeplan fleet replan`` and ``availability``: what becomes of a plan."""

from __future__ import annotations

import time
from collections.abc import Callable
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

Years = Annotated[
    str | None,
    typer.Option("--years", metavar="N", help="Years of failures to draw. [default: 20]"),
]
Seed = Annotated[
    str | None,
    typer.Option("--seed", metavar="N", help="The same draws the same failures. [default: 0]"),
]
SpareDomains = Annotated[
    str | None,
    typer.Option(
        "--spare-domains",
        metavar="N",
        help="NVLink domains of each machine that stand by, besides free GPUs. [default: 1]",
    ),
]
Rates = Annotated[
    list[str] | None,
    typer.Option(
        "--rate",
        metavar="PART=N",
        help="Failures of one gpu, server, switch or rack per year, such as gpu=0.1; repeatable.",
    ),
]
Repairs = Annotated[
    list[str] | None,
    typer.Option(
        "--repair",
        metavar="PART=TIME",
        help="Mean time that such a part is away, such as server=12h; repeatable.",
    ),
]
PATIENCE = 1.0
"""Time after which progress is shown. [s]"""


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
    from moeplan import fleet_api, numbers, output  # --help does without these
    from moeplan.render import fleet as render
    from presets import InfeasibleError
    from presets.demand_file import MOST_SPARES

    path = numbers.file_name("PLAN", plan)
    extra = 0 if spares is None else numbers.whole_number("--spares", spares, 0, MOST_SPARES, "")
    limit = None if seconds is None else numbers.positive_number("--seconds", seconds, "s")
    with output.progress("Plans looked at", None) as advance:
        answer = fleet_api.replan(path, lost or [], spares=extra, seconds=limit, progress=advance)
    if as_json:
        output.emit_json(answer.to_json())
    else:
        output.emit_report(render.report(answer))
    if answer.objective.amount is None:
        raise InfeasibleError(str(answer.reason))


@app.command(
    cls=Command,
    epilog=given.examples(
        "moeplan fleet availability plan.json",
        "moeplan fleet availability plan.json --rate gpu=0.05 --repair gpu=2h --spare-domains 2",
    ),
)
def availability(
    plan: PlanFile,
    years: Years = None,
    seed: Seed = None,
    spare_domains: SpareDomains = None,
    rate: Rates = None,
    repair: Repairs = None,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
) -> None:
    """Draw years of failures, and count how long a plan serves each tier, with and without spares.

    Rates and repair times that are not given are those of moeplan, most of them assumed.
    """
    from moeplan import fleet_api, numbers, output  # --help does without these
    from moeplan.render import availability as render

    given.one_format(json=as_json, csv=as_csv)
    path = numbers.file_name("PLAN", plan)
    wanted = {
        "years": numbers.whole_number("--years", years or "20", 1, 1000, "years"),
        "seed": numbers.whole_number("--seed", seed or "0", 0, 2**63 - 1, ""),
        "spare_domains": numbers.whole_number(
            "--spare-domains", spare_domains or "1", 0, 1000, "domains"
        ),
    }
    rates, repairs = _by_part("--rate", rate, ""), _by_part("--repair", repair, "s")
    with output.progress("Failures and states looked at", None) as advance:
        answer = fleet_api.availability(
            path, **wanted, rates=rates, repairs=repairs, progress=_after(PATIENCE, advance)
        )
    if as_json:
        output.emit_json(answer.to_json())
    elif as_csv:
        output.emit_csv(answer.to_rows())
    else:
        output.emit_report(render.report(answer))


def _by_part(option: str, texts: list[str] | None, unit: str) -> dict[str, float]:
    """Read values by kind of part."""
    from moeplan import numbers  # as above
    from presets import InputError
    from presets.errors import shown

    found: dict[str, float] = {}
    for text in texts or []:
        part, equals, value = text.partition("=")
        if not equals:
            example = "gpu=12h" if unit else "gpu=0.1"
            raise InputError(f"{option}: {shown(text)} is not valid; give PART=VALUE: {example}")
        is_none = value.strip() == "0"
        found[part] = 0.0 if is_none else numbers.positive_number(option, value, unit or "1/year")
    return found


def _after(seconds: float, advance: Callable[[], None]) -> Callable[[], None]:
    """Show nothing of what is soon done."""
    shown_from = time.monotonic() + seconds

    def step() -> None:
        if time.monotonic() > shown_from:
            advance()

    return step
