"""``moeplan fleet``: one plan for several tiers of demand."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given

EXAMPLES = given.examples(
    "moeplan fleet demand.yaml --sku gb200=144",
    "moeplan fleet demand.yaml --sku gb200 --sku b200 --max-power 200kW --json",
    "moeplan fleet demand.yaml --cluster cluster.yaml --objective gpus --csv",
)

File = Annotated[
    str,
    typer.Argument(metavar="DEMAND", help="Demand file, YAML; docs/files.md has its keys."),
]
Skus = Annotated[
    list[str] | None,
    typer.Option(
        "--sku",
        metavar="NAME[=GPUS]",
        help="Machine that may be taken, and how many GPUs of it there are; repeatable. [default: "
        "those of the demand]",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="USD/H",
        help="Most that the GPUs that serve may cost per hour. [default: that of the demand]",
    ),
]
Power = Annotated[
    str | None,
    typer.Option(
        "--max-power",
        metavar="WATTS",
        help="Most that the GPUs that serve may draw, such as 200kW. [default: that of the demand]",
    ),
]
Racks = Annotated[
    str | None,
    typer.Option(
        "--max-racks",
        metavar="N",
        help="Most NVLink domains, racks or servers, that workers may stand in. [default: that of "
        "the demand]",
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="NAME",
        help="What is made least of the GPUs that serve: cost (USD per hour), gpus or power. "
        "[default: cost]",
    ),
]
Seconds = Annotated[
    str | None,
    typer.Option(
        "--seconds",
        metavar="SECONDS",
        help="Time after which the best plan so far is given, with its gap. [default: 60]",
    ),
]


@given.takes("prices", "cluster", "calibration")
def command(
    *,
    demand: File,
    typed: given.Typed,
    sku: Skus = None,
    objective: Objective = None,
    budget: Budget = None,
    max_power: Power = None,
    max_racks: Racks = None,
    seconds: Seconds = None,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
) -> None:
    """Plan the workers that serve all tiers of a demand: machines, shapes, counts, placement.

    Exits with 1 where no plan serves all tiers.
    """
    from moeplan import fleet_api, numbers, output  # --help does without these
    from moeplan.fleet_question import OBJECTIVES
    from moeplan.render import fleet as render
    from presets import InfeasibleError
    from presets.demand_file import MOST_RACKS

    given.one_format(json=as_json, csv=as_csv)

    def number(option: str, text: str | None, unit: str) -> float | None:
        return None if text is None else numbers.positive_number(option, text, unit)

    limits = {
        "budget": number("--budget", budget, "USD/h"),
        "max_power": number("--max-power", max_power, "W"),
        "seconds": number("--seconds", seconds, "s"),
    }
    racks = None
    if max_racks is not None:
        racks = numbers.whole_number("--max-racks", max_racks, 1, MOST_RACKS, "racks")
    path = numbers.file_name("DEMAND", demand)
    if objective is not None:
        typed = {**typed, "objective": numbers.one_of("--objective", objective, OBJECTIVES)}
    options = given.options_of(typed)
    with output.progress("Plans looked at", None) as advance:
        answer = fleet_api.fleet(
            path, options, sku or [], max_racks=racks, progress=advance, **limits
        )
    if as_json:
        output.emit_json(answer.to_json())
    elif as_csv:
        output.emit_csv(answer.to_rows())
    else:
        output.emit_report(render.report(answer))
    if answer.objective.amount is None:
        raise InfeasibleError(str(answer.reason))
