"""``moeplan curve``: the best deployments of one machine or several, over interactivity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from moeplan.commands import parameters as given

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moeplan.answers.best import Best
    from moeplan.answers.curve import Curve, Curves

EXAMPLES = given.examples(
    "moeplan curve --sku gb200 --targets 25,50,75,100,125",
    "moeplan curve --sku b200 --targets 25,50,75 --csv",
    "moeplan curve --sku gb200 --sku b200:vllm --targets 25,50,75 --plot curves.svg",
    "moeplan curve --sku mine.yaml --targets 25,200 --plot - --metric cost",
)

FORMS = ("svg", "png", "html")
TERMINAL = "-"

Skus = Annotated[
    list[str] | None,
    typer.Option(
        "--sku",
        metavar="NAME",
        help="Machine, such as gb200, with words for its engine and serving mode, such as "
        "gb200:vllm, or a cluster or machine file; repeatable.",
    ),
]
Plot = Annotated[
    str | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        help="Also draw measured runs, interpolated, modelled and safe frontier, over a fine grid "
        "of targets: a file .svg, .png or .html, or - for the terminal.",
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="What --plot draws: throughput, cost, per-dollar, per-kilowatt or ttft. "
        "[default: throughput]",
    ),
]


@given.takes(but=("price",))
def command(
    *,
    targets: given.Targets,
    sku: Skus = None,
    typed: given.Typed,
    price: given.Prices = None,
    plot: Plot = None,
    metric: Metric = None,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
) -> None:
    """Find the configuration of most throughput per dollar at each of several targets.

    Exits with 1 where nothing meets any of them.
    """
    from moeplan import api, output  # --help does without these
    from moeplan.answers.build import version
    from moeplan.answers.curve import Curves, curve_of
    from moeplan.machines import machine_of
    from moeplan.numbers import number_list
    from presets import InfeasibleError, InputError

    given.one_format(json=as_json, csv=as_csv, plot=plot == TERMINAL)
    wanted = number_list("--targets", targets, api.UNIT)
    options = given.options_of(typed)
    skus = sku or [machine_of(None, options).label]
    by_machine = given.options_by_machine(skus, options, price or [], [], [])
    if plot is None:
        if metric is not None:
            raise InputError("--metric goes with --plot; add --plot FILE, or leave it out")
        answer, fine = api.curves(skus, wanted, by_machine), None
    else:
        path, chosen = _plot_file(plot, typed), _metric(metric)
        from moeplan.report.grid import curves_over  # a table needs no grid

        over = curves_over(skus, wanted, by_machine)
        asked = {label: curve_of(rows) for label, rows in over.asked().items()}
        answer = Curves(curves=asked, refused=over.refused, version=version())
        fine = over.curves
    output.note(*(f"{label} is left out: {reason}" for label, reason in answer.refused.items()))
    _print(next(iter(answer.curves.values())) if len(skus) == 1 else answer, as_json, as_csv)
    if fine is not None:
        _draw(fine, chosen, path)
    rows = [row for curve in answer.curves.values() for row in curve.rows]
    if all(row.config is None for row in rows):
        raise InfeasibleError(str(rows[0].reason))


def _print(answer: Curve | Curves, as_json: bool, as_csv: bool) -> None:
    """Print the curve of one machine, or those of several by machine."""
    from moeplan import output  # --help does without these
    from moeplan.answers.curve import Curves
    from moeplan.render import curve as render

    if as_json:
        output.emit_json(answer.to_json())
    elif as_csv:
        output.emit_csv(answer.to_rows())
    elif isinstance(answer, Curves):
        output.emit_report(render.report_several(answer))
    else:
        output.emit_report(render.report(answer))


def _metric(name: str | None) -> str:
    from moeplan.numbers import one_of  # --help does without these
    from moeplan.render.chart import METRICS

    return one_of("--metric", name or "throughput", tuple(METRICS))


def _plot_file(name: str, typed: given.Typed) -> Path | None:
    """Refuse, before any work, a file that could not be drawn or written; None is the terminal."""
    from importlib import import_module  # --help does without these

    from moeplan import output
    from moeplan.numbers import file_name
    from presets.errors import InputError, shown

    if name == TERMINAL:
        import_module("moeplan.render.chart_terminal")  # its library may be missing
        return None
    path = file_name("--plot", name)
    form = path.suffix.lower()[1:]
    if form not in FORMS:
        endings = ", ".join(f".{each}" for each in FORMS)
        raise InputError(
            f"--plot: {shown(path.name)} is not valid; give a name that ends in one of {endings}, "
            f"or {TERMINAL} for the terminal"
        )
    output.check_writable("--plot", path, given.files_of(typed))
    import_module(f"moeplan.render.chart_{'page' if form == 'html' else 'picture'}")
    return path


def _draw(fine: Mapping[str, Sequence[Best]], metric: str, path: Path | None) -> None:
    from moeplan import output  # --help does without these
    from moeplan.render.chart import chart_of

    chart = chart_of(fine, metric)
    if path is None:
        from moeplan.render.chart_terminal import text  # as above

        output.emit("\n" + text(chart, output.columns()))
        return
    form = path.suffix.lower()[1:]
    if form == "html":
        from moeplan.render.chart_page import page  # as above

        output.write_file("--plot", path, page(chart))
    else:
        from moeplan.render.chart_picture import picture  # as above

        output.write_file("--plot", path, picture(chart, form))
