"""``moeplan calibrate``: the constants of the cost model from measurements."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given

EXAMPLES = given.examples(
    "moeplan calibrate measured_serving.csv --output calibration.toml",
    "moeplan best --sku gb200 --target 125 --calibration calibration.toml",
)

Rows = Annotated[
    list[str],
    typer.Argument(
        metavar="ROWS.csv...",
        help="Measured operating points, or the published table; repeatable; docs/files.md has the "
        "columns.",
    ),
]
Output = Annotated[str, typer.Option("--output", metavar="FILE", help="Calibration to write.")]


FromPriors = Annotated[
    bool,
    typer.Option(
        "--from-priors",
        help="Forget the fit that --calibration holds: refit all from its priors, collectives too.",
    ),
]

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Take values far from everything else as they are, and write a fit that is worse on "
        "rows left out.",
    ),
]


@given.takes("calibration")
def command(
    *,
    rows: Rows,
    destination: Output,
    typed: given.Typed,
    from_priors: FromPriors = False,
    force: Force = False,
    columns: given.Columns = None,
    as_json: given.Json = False,
) -> None:
    """Fit the constants of the cost model to measured operating points.

    The fit starts from --calibration: constants leave it only as far as the rows ask for it. What
    is left of the rows' level anchors predictions of what is like them; one row is enough for that.
    Errors before it and after it are compared on rows left out and on the shipped rows.
    Exits with 1, and writes nothing, where rows left out are predicted worse; with 1 also where
    rows were refused, the others fitted all the same.
    Exits with 2 where values are three times or more from what the calibration predicts.
    """
    from costmodel.calibration_file import format_calibration  # --help does without these
    from costmodel.fit import Fit
    from moeplan import output, own_rows
    from moeplan.numbers import file_name
    from moeplan.render.calibrate import fit_of, report, summary, verdict

    path = file_name("--output", destination)
    chosen = given.options_of(typed).calibration
    files = [file_name("ROWS.csv", name) for name in rows]
    for name, file in [("--calibration", chosen), *(("ROWS.csv", file) for file in files)]:
        output.check_writable("--output", path, {name: file})
    mapping = None if columns is None else file_name("--columns", columns)
    read = [own_rows.read_rows(file, chosen, mapping) for file in files]
    measured = own_rows.rows_to_fit(read, chosen, force=force)
    # How many evaluations a fit takes is known only when it ends.
    with output.progress("Fitting", None) as advance:
        found = own_rows.fit_rows(measured, chosen, advance, from_priors=from_priors)
    # A fit from priors has no verdict: it replaces what it would be compared with.
    written = force or isinstance(found, Fit) or found.verdict != "worse"
    if written:
        output.write_file("--output", path, format_calibration(fit_of(found).file))
    if as_json:
        output.emit_json(summary(found, written))
    else:
        output.emit_report(report(found, path, written))
    if not written and not isinstance(found, Fit):
        typer.echo(f"Error: {verdict(found, written)}", err=True)
    if not written or any(each.refused for each in read):
        raise typer.Exit(1)
