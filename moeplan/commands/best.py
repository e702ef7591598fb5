"""``moeplan best``: the best deployment for one machine and one target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moeplan.commands import parameters as given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from moeplan.answers.best import Best
    from moeplan.answers.explanation import Explanation, Robustness

EXAMPLES = given.examples(
    "moeplan best --sku gb200 --target 125",
    "moeplan best --sku b200 --target 60 --max-ttft 2 --json",
    "moeplan best --cluster cluster.yaml --target 100 --price 1.80",
    "moeplan best --sku gb200 --target 125 --billing domain --min-confidence 0.95",
    "moeplan best --sku gb200 --target 60 --rate 50",
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


@given.takes()
def command(
    *,
    target: given.Target,
    sku: given.Sku = None,
    typed: given.Typed,
    explain: Explain = False,
    robust: Robust = False,
    next_rows: NextRows = None,
    as_json: given.Json = False,
) -> None:
    """Find the configuration of most throughput per dollar, or of another objective, at a target.

    Exits with 1 where nothing meets the target.
    """
    from moeplan import api, output  # --help does without these
    from moeplan.numbers import positive_number
    from presets import InfeasibleError

    wanted = positive_number("--target", target, api.UNIT)
    options = given.options_of(typed)
    path = None
    if next_rows is not None:
        from moeplan.explainers import check_rows_can_say  # rarely asked for
        from moeplan.question import ask

        path = _next_rows_file(next_rows, robust, given.files_of(typed))
        check_rows_can_say(ask(sku, options))
    answer = api.best(sku, wanted, options)
    met = answer.reason is None
    explained = _explained(answer) if explain and met else None
    robustness = _robustness(answer, path) if robust and met else None
    if as_json:
        more = {"explain": explained, "robust": robustness}
        found = {name: each.to_json() for name, each in more.items() if each is not None}
        output.emit_json(answer.to_json() | found)
    elif met:
        output.emit_report(_report(answer, explained, robustness))
    if answer.reason is not None:
        raise InfeasibleError(answer.reason)


def _next_rows_file(name: str, robust: bool, inputs: Mapping[str, str | None]) -> Path:
    """Refuse, before any work, a file that could not be found or written."""
    from moeplan import output  # --help does without these
    from moeplan.numbers import file_name
    from presets.errors import InputError

    if not robust:
        raise InputError("--next-rows goes with --robust; add --robust")
    path = file_name("--next-rows", name)
    output.check_writable("--next-rows", path, inputs)
    output.check_replaceable_rows("--next-rows", path)
    return path


def _explained(answer: Best) -> Explanation:
    from moeplan import output  # --help does without these
    from moeplan.explainers import explain, explain_steps

    with output.progress("Shadow prices", explain_steps(answer)) as advance:
        return explain(answer, progress=advance)


def _robustness(answer: Best, path: Path | None) -> Robustness:
    from moeplan import output  # --help does without these
    from moeplan.explainers import next_row_lines, robust_steps, robustness

    with output.progress("Draws of the constants", robust_steps()) as advance:
        found = robustness(answer, progress=advance)
    if path is not None and found.measure_next:
        output.write_file("--next-rows", path, output.csv_text(next_row_lines(found, answer)))
    return found


def _report(
    answer: Best, explained: Explanation | None, robustness: Robustness | None
) -> list[RenderableType]:
    """Lay out the answer and what was asked for beside it."""
    from moeplan.render import best, explain, robust  # --json does without these

    parts = best.report(answer)
    if explained is not None:
        parts += explain.report(explained, answer)
    if robustness is not None:
        parts += robust.report(robustness)
    return parts
