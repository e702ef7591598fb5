"""``moeplan validate``: predictions against measurements."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moeplan.commands import parameters as given

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = given.examples(
    "moeplan validate measured_serving.csv",
    "moeplan validate measured_serving.csv --output predictions.csv",
    "moeplan validate measured_serving.csv --plot predictions.html",
    "moeplan validate measured_serving.csv --json",
    "moeplan validate --cross-validate",
)

Rows = Annotated[
    str | None,
    typer.Argument(
        metavar="ROWS.csv",
        help="Measured operating points, or the published table; docs/files.md has the columns.",
    ),
]
CrossValidate = Annotated[
    bool,
    typer.Option(
        "--cross-validate",
        help="Refit the shipped data in folds and predict what each fit left out (takes minutes).",
    ),
]
Output = Annotated[
    str | None,
    typer.Option("--output", metavar="FILE", help="Write one CSV line per row as well."),
]
Plot = Annotated[
    str | None,
    typer.Option("--plot", metavar="FILE.html", help="Draw predicted against measured."),
]


@given.takes("calibration")
def command(
    *,
    typed: given.Typed,
    rows: Rows = None,
    destination: Output = None,
    plot: Plot = None,
    columns: given.Columns = None,
    cross_validate: CrossValidate = False,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
) -> None:
    """Predict measured operating points and show the errors.

    Nothing of what was measured enters a prediction. With --csv the table holds one line per row.
    Exits with 1 where rows were refused; the others are predicted all the same.
    """
    from moeplan import output, own_rows  # --help does without these
    from moeplan.numbers import file_name
    from moeplan.render.validate import report
    from presets.errors import InputError

    given.one_format(json=as_json, csv=as_csv)
    if cross_validate:
        others = (rows, typed.get("calibration"), destination, plot, columns)
        if as_csv or any(other is not None for other in others):
            raise InputError("--cross-validate goes with --json alone; leave the others out")
        _cross_validate(as_json)
        return
    if rows is None:
        raise InputError("ROWS.csv is missing; name a file or give --cross-validate")
    options = given.options_of(typed)
    chosen = None if options.calibration is None else Path(options.calibration)
    table = file_name("ROWS.csv", rows)
    inputs = {"ROWS.csv": table, "--calibration": chosen}
    path = None if destination is None else file_name("--output", destination)
    if path is not None:
        output.check_writable("--output", path, inputs)
    picture = None if plot is None else _page_name(plot, {**inputs, "--output": path})
    validation = own_rows.validate(
        table, chosen, None if columns is None else file_name("--columns", columns)
    )
    if path is not None:
        output.write_file("--output", path, output.csv_text(validation.lines()))
    if picture is not None:
        from moeplan.render.plot import page  # --help does without these

        output.write_file("--plot", picture, page(validation))
    if as_json:
        output.emit_json(validation.summary())
    elif as_csv:
        output.emit_csv(validation.lines())
    else:
        output.emit_report(report(validation))
    if validation.refused:
        raise typer.Exit(1)


def _page_name(text: str, others: Mapping[str, Path | None]) -> Path:
    """Check the name of a page before the work is done."""
    from moeplan import output  # --help does without these
    from moeplan.numbers import file_name
    from presets.errors import InputError, shown

    path = file_name("--plot", text)
    if path.suffix != ".html":
        raise InputError(f"--plot: {shown(text)} is not valid; give a name that ends in .html")
    output.check_writable("--plot", path, others)
    import_module("moeplan.render.plot")  # before the work: its library may be missing
    return path


def _cross_validate(as_json: bool) -> None:
    """Measure the accuracy of the shipped model on its own data, with a bar on standard error."""
    from costmodel.accuracy import count_fits, measure_accuracy  # --help does without these
    from costmodel.calibration_file import shipped_calibration
    from costmodel.corpus import corpus_of
    from costmodel.corpus_accuracy import count_corpus_fits, measure_corpus
    from moeplan import output
    from moeplan.render import accuracy, corpus
    from presets import corpus_rows, published_rows, serving_rows

    rows, shipped = serving_rows(), shipped_calibration()
    with output.progress("Fitting", count_fits(rows) + count_corpus_fits()) as advance:
        own = measure_accuracy(rows, published_rows(), shipped, advance)
        public = measure_corpus(shipped, corpus_of(corpus_rows()), advance)
    if as_json:
        output.emit_json(accuracy.summary(own) | {"corpus": corpus.summary(public, shipped)})
    else:
        text = accuracy.markdown(own) + "\n" + corpus.markdown(public, shipped)
        output.emit_report(accuracy.report(text))
