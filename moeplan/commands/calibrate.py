"""``moeplan calibrate``: the constants of the cost model from measurements."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan import parameters as given

EXAMPLES = given.examples(
    "moeplan calibrate measured_serving.csv --output calibration.toml",
    "moeplan best --sku gb200 --target 125 --calibration calibration.toml",
)

Rows = Annotated[str, typer.Argument(metavar="ROWS.csv", help="Measured operating points.")]
Output = Annotated[str, typer.Option("--output", metavar="FILE", help="Calibration to write.")]


def command(
    rows: Rows,
    destination: Output,
    calibration: given.Calibration = None,
    as_json: given.Json = False,
) -> None:
    """Fit the constants of the cost model to measured operating points.

    The fit starts from --calibration, and keeps its priors and bounds.
    """
    from costmodel.calibration_file import format_calibration
    from moeplan import api, output
    from moeplan.numbers import file_name
    from moeplan.render.calibrate import report, summary

    path = file_name("--output", destination)
    output.check_writable("--output", path)
    chosen = None if calibration is None else file_name("--calibration", calibration)
    # How many evaluations a fit takes is known only when it ends.
    with output.progress("Fitting", None) as advance:
        fit = api.calibrate(file_name("ROWS.csv", rows), chosen, advance)
    output.write_file("--output", path, format_calibration(fit.file))
    if as_json:
        output.emit_json(summary(fit))
    else:
        output.emit_report(report(fit, path))
