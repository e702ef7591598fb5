"""``moeplan sensitivity``: what moves the cost of a machine, or the ratio of two, most."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given

EXAMPLES = given.examples(
    "moeplan sensitivity gb200 b200 --target 100",
    "moeplan sensitivity gb200 --target 75 --by 1.5 --csv",
    "moeplan sensitivity gb200 b200 --target 100 --map b200.nic_bandwidth,b200.price",
)

Skus = Annotated[
    list[str],
    typer.Argument(
        metavar="SKU [SKU]",
        help="One machine, for its cost, or two, for how many times cheaper the first is; named as "
        "in `moeplan compare`.",
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="FACTOR",
        help="Factor by which each figure is made lower and higher. [default: 1.25]",
    ),
]
Pair = Annotated[
    str | None,
    typer.Option("--map", metavar="A,B", help="Also map two of them against each other, by name."),
]


@given.takes(but=("price",))
def command(
    *,
    skus: Skus,
    target: given.Target,
    typed: given.Typed,
    price: given.Prices = None,
    by: By = None,
    pair: Pair = None,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
) -> None:
    """Say what moves the cost of one machine, or the ratio of two, most: a tornado.

    Exits with 1 where a machine does not meet the target.
    """
    from moeplan import api, output  # --help does without these
    from moeplan.numbers import positive_number
    from moeplan.render import sensitivity as render
    from moeplan.what_if import BY, read_by, sensitivity

    given.one_format(json=as_json, csv=as_csv)
    wanted = positive_number("--target", target, api.UNIT)
    factor = BY if by is None else read_by("--by", by)
    options = given.options_of(typed)
    by_machine = given.options_by_machine(skus, options, price or [], [], [])
    names = [] if pair is None else [name.strip() for name in pair.split(",")]
    with output.progress("Answers", None) as advance:
        found = sensitivity(
            skus, wanted, by_machine, by=factor, pair=names, progress=lambda left: advance()
        )
    if as_json:
        output.emit_json(found.to_json())
    elif as_csv:
        output.emit_csv(found.to_rows())
    else:
        output.emit_report(render.report(found))
