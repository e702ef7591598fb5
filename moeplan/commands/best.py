"""``moeplan best``: the best deployment for one machine and one target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moeplan import parameters as given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from moeplan.explanations import Explanation, Robustness
    from moeplan.options import Options
    from moeplan.results import Best

EXAMPLES = given.examples(
    "moeplan best --sku gb200 --target 125",
    "moeplan best --sku b200 --target 60 --max-ttft 2 --json",
    "moeplan best --cluster cluster.yaml --target 100 --price 1.80",
    "moeplan best --sku gb200 --target 125 --billing domain --min-confidence 0.95",
    "moeplan best --sku gb200 --target 60 --objective gpus --rate 50",
    "moeplan best --sku gb200 --prefill-sku b200 --target 100 --objective power",
    "moeplan best --sku gb200 --target 125 --explain",
    "moeplan best --sku b200 --target 60 --robust --next-rows measure.csv",
    "moeplan best --sku gb200 --target 125 --billing domain --concurrency 500 --robust",
)

Explain = Annotated[
    bool,
    typer.Option("--explain", help="Add bandwidth by link, and the shadow price of each limit."),
]
Robust = Annotated[
    bool,
    typer.Option(
        "--robust",
        help="Add how often the answer stays best where the constants are uncertain, what choosing "
        "it costs in the unit of the objective, and what to measure next.",
    ),
]
NextRows = Annotated[
    str | None,
    typer.Option(
        "--next-rows",
        metavar="FILE",
        help="With --robust: write what to measure next as rows that `moeplan validate` reads; "
        "a file that holds anything else is not replaced.",
    ),
]


def command(
    target: given.Target,
    sku: given.Sku = None,
    model: given.Model = given.MODEL,
    precision: given.Precision = None,
    isl: given.Isl = given.ISL,
    osl: given.Osl = given.OSL,
    engine: given.Engine = given.ENGINE,
    frontends: given.Frontends = given.FRONTENDS,
    max_gpus: given.MaxGpus = given.MAX_GPUS,
    max_ttft: given.MaxTtft = None,
    objective: given.Objective = given.OBJECTIVE,
    billing: given.Billing = given.BILLING,
    rate: given.Rate = None,
    concurrency: given.Concurrency = None,
    min_confidence: given.MinConfidence = None,
    within_data: given.WithinData = False,
    prefill_sku: given.PrefillSku = None,
    prefill_price: given.PrefillPrice = None,
    price: given.Price = None,
    cluster: given.Cluster = None,
    calibration: given.Calibration = None,
    explain: Explain = False,
    robust: Robust = False,
    next_rows: NextRows = None,
    as_json: given.Json = False,
) -> None:
    """Find the configuration of most throughput per dollar, or of another objective, at a target.

    Exits with 1 where nothing meets the target.
    """
    from moeplan import api, output
    from moeplan.numbers import positive_number
    from presets import InfeasibleError

    wanted = positive_number("--target", target, api.UNIT)
    options = given.options_of(
        model=model,
        precision=precision,
        isl=isl,
        osl=osl,
        engine=engine,
        frontends=frontends,
        max_gpus=max_gpus,
        max_ttft=max_ttft,
        objective=objective,
        billing=billing,
        rate=rate,
        concurrency=concurrency,
        min_confidence=min_confidence,
        within_data=within_data,
        prefill_sku=prefill_sku,
        prefill_price=prefill_price,
        price=price,
        cluster=cluster,
        calibration=calibration,
    )
    inputs = {"--model": model, "--cluster": cluster, "--calibration": calibration}
    path = None if next_rows is None else _checked(next_rows, robust, sku, options, inputs)
    answer = api.best(sku, wanted, options)
    there = answer.reason is None
    explained = _explained(answer, options) if explain and there else None
    held = _robust(answer, options, path) if robust and there else None
    if as_json:
        more = {"explain": explained, "robust": held}
        found = {name: each.to_json() for name, each in more.items() if each is not None}
        output.emit_json(answer.to_json() | found)
    elif there:
        output.emit_report(_report(answer, explained, held))
    if answer.reason is not None:
        raise InfeasibleError(answer.reason)


def _checked(
    next_rows: str,
    robust: bool,
    sku: str | None,
    options: Options,
    inputs: Mapping[str, str | None],
) -> Path:
    """Refuse, before any work, rows that could not be found, written or read again."""
    from moeplan import output
    from moeplan.explainers import check_rows_can_say
    from moeplan.numbers import file_name
    from presets.errors import InputError

    if not robust:
        raise InputError("--next-rows goes with --robust; add --robust")
    path = file_name("--next-rows", next_rows)
    output.check_writable("--next-rows", path, inputs)
    output.check_replaceable_rows("--next-rows", path)
    check_rows_can_say(sku, options)
    return path


def _explained(answer: Best, options: Options) -> Explanation:
    from moeplan import output
    from moeplan.explainers import explain, explain_steps

    with output.progress("Shadow prices", explain_steps(answer, options)) as advance:
        return explain(answer, options, progress=advance)


def _robust(answer: Best, options: Options, path: Path | None) -> Robustness:
    from moeplan import output
    from moeplan.explainers import next_row_lines, robust_steps, robustness

    with output.progress("Draws of the constants", robust_steps()) as advance:
        found = robustness(answer, options, progress=advance)
    if path is not None and found.measure_next:
        lines = next_row_lines(found, answer, options)
        output.write_file("--next-rows", path, output.csv_text(lines))
    return found


def _report(
    answer: Best, explained: Explanation | None, held: Robustness | None
) -> list[RenderableType]:
    """Lay out the answer and what was asked for beside it."""
    from moeplan.render import best, explain, robust

    parts = best.report(answer)
    if explained is not None:
        parts += explain.report(explained, answer)
    if held is not None:
        parts += robust.report(held)
    return parts
