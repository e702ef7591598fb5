"""``moeplan calibrate``: the constants of the cost model from measurements."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan import parameters as given

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


def command(
    rows: Rows,
    destination: Output,
    from_priors: FromPriors = False,
    columns: given.Columns = None,
    calibration: given.Calibration = None,
    as_json: given.Json = False,
) -> None:
    """Fit the constants of the cost model to measured operating points.

    The fit starts from --calibration: constants that the rows do not inform stay as they are.
    Errors before it and after it are compared by leaving configurations out. Exits with 1 where
    rows were refused; the others are fitted all the same.
    """
    from costmodel.calibration_file import format_calibration
    from moeplan import api, output
    from moeplan.numbers import file_name
    from moeplan.render.calibrate import fit_of, report, summary

    path = file_name("--output", destination)
    chosen = None if calibration is None else file_name("--calibration", calibration)
    files = [file_name("ROWS.csv", name) for name in rows]
    for name, file in [("--calibration", chosen), *(("ROWS.csv", file) for file in files)]:
        output.check_writable("--output", path, {name: file})
    mapping = None if columns is None else file_name("--columns", columns)
    found = [api.read_rows(file, chosen, mapping) for file in files]
    # How many evaluations a fit takes is known only when it ends.
    with output.progress("Fitting", None) as advance:
        fit = api.calibrate(found, chosen, advance, from_priors=from_priors)
    output.write_file("--output", path, format_calibration(fit_of(fit).file))
    if as_json:
        output.emit_json(summary(fit))
    else:
        output.emit_report(report(fit, path))
    if any(each.refused for each in found):
        raise typer.Exit(1)
