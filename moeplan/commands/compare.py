"""``moeplan compare``: machines side by side, as measured and as modelled."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given

EXAMPLES = given.examples(
    "moeplan compare gb200 b200 --targets 25,45,60,75,90,100,125,150",
    "moeplan compare gb200 b200 --targets 75,125 --price gb200=2.50 --price b200=1.95 --csv",
    "moeplan compare gb300 gb200 b200 --targets 50,100 --json",
    "moeplan compare gb200 b200 --targets 50,100 --rate 40",
)

Skus = Annotated[
    list[str],
    typer.Argument(metavar="SKU SKU...", help="Machines; ratios are of the first to each other."),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price", metavar="[SKU=]USD", help="Price per GPU-hour, of all or of one; repeatable."
    ),
]
Machines = Annotated[
    list[str] | None,
    typer.Option(
        "--machine", metavar="FILE", help="One of the machines that is your own; repeatable."
    ),
]
Clusters = Annotated[
    list[str] | None,
    typer.Option("--cluster", metavar="FILE", help="Cluster of one of the machines; repeatable."),
]


@given.takes(
    but=(
        "concurrency",
        "prefill_sku",
        "prefill_price",
        "price",
        "machine",
        "cluster",
        "pool",
        "prefill_pool",
    )
)
def command(
    *,
    skus: Skus,
    targets: given.Targets,
    typed: given.Typed,
    price: Prices = None,
    machine: Machines = None,
    cluster: Clusters = None,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
) -> None:
    """Compare machines at several targets: the measured frontier beside the best as modelled.

    A machine that refuses an option is named, and the others are compared. Exits with 1 where no
    machine meets any target.
    """
    from moeplan import api, output  # --help does without these
    from moeplan.numbers import number_list
    from moeplan.render import compare as render
    from presets import InfeasibleError

    given.one_format(json=as_json, csv=as_csv)
    wanted = number_list("--targets", targets, api.UNIT)
    options = given.options_of(typed)
    by_machine = given.options_by_machine(skus, options, price or [], machine or [], cluster or [])
    answer = api.compare(skus, wanted, by_machine)
    output.note(*(f"{sku} is not compared: {reason}" for sku, reason in answer.refused.items()))
    if as_json:
        output.emit_json(answer.to_json())
    elif as_csv:
        output.emit_csv(answer.to_rows())
    else:
        output.emit_report(render.report(answer))
    if all(pair.modelled is None for row in answer.rows for pair in row.pairs.values()):
        first = answer.skus[0]
        raise InfeasibleError(f"{first}: {answer.rows[0].answers[first].reason}")
