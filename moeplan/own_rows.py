"""Measured rows of a user's own: read, predicted beside what was measured, and fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from moeplan.arguments import checked_arguments
from moeplan.question import calibration_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from costmodel.adaptation import Adaptation  # a search does without these
    from costmodel.fit import Fit
    from costmodel.validation import Validation
    from presets import MeasuredRows, ServingRow


@checked_arguments
def read_rows(
    path: Path | str, calibration: Path | str | None = None, columns: Path | str | None = None
) -> MeasuredRows:
    """Read measured operating points, and refuse each that no engine could have run.

    Warns of columns that are ignored and of rows that are refused; `refused` of the result has all
    of them.

    Parameters
    ----------
    path : Path or str
        CSV or JSON file in the columns of the shipped ``measured_serving``, of the published table,
        or of an export for which there is a map of columns.
    calibration : Path, str or None
        Calibration file; None takes the shipped one.
    columns : Path, str or None
        Map of columns of one's own; docs/files.md has its keys.

    Raises
    ------
    InputError
        Where a file is malformed, or no row is left.
    """
    from costmodel.row_checks import rows_that_cannot_run  # a search does without these
    from presets import read_measured_rows

    found = read_measured_rows(path, columns)
    known = calibration_file(calibration).calibration
    found = found.without(rows_that_cannot_run(found.rows, known))
    found.check()
    return found


@checked_arguments
def validate(
    rows: Path | str | MeasuredRows,
    calibration: Path | str | None = None,
    columns: Path | str | None = None,
) -> Validation:
    """Predict measured operating points and compare.

    Parameters
    ----------
    rows : Path, str or MeasuredRows
        File, as `read_rows` reads it, or what it gave.
    calibration : Path, str or None
        Calibration file; None takes the shipped one.
    columns : Path, str or None
        Map of columns of one's own.

    Raises
    ------
    InputError
        Where a file is malformed, no row could have been run, or none holds a measurement.
    """
    from costmodel.validation import check_measured  # a search does without these
    from costmodel.validation import validate as validate_rows

    chosen = calibration_file(calibration)
    found = _rows_of(rows, calibration, columns)
    measured = tuple(found.rows.values())
    check_measured(measured)
    validation = validate_rows(measured, chosen.calibration)
    return replace(validation, refused=found.refused, ignored=tuple(found.ignored))


@checked_arguments
def calibrate(
    rows: Path | str | MeasuredRows | Sequence[Path | str | MeasuredRows],
    calibration: Path | str | None = None,
    progress: Callable[[], None] | None = None,
    *,
    from_priors: bool = False,
    force: bool = False,
) -> Fit | Adaptation:
    """Fit the constants of the cost model to measured operating points.

    Gives an `Adaptation` unless `from_priors`: its `verdict` says whether rows left out are
    predicted better, `moves` what moved and by which rows.

    Parameters
    ----------
    rows : Path, str, MeasuredRows or sequence of them
        Files, as in `validate`.
    calibration : Path, str or None
        Calibration file to start from, with priors and bounds; None takes the shipped one.
    progress : callable, optional
        Called once for each evaluation.
    from_priors : bool
        Forget the fit that the file holds and start from its priors, as for the shipped constants.
    force : bool
        Take rows as they are, however far from what the calibration predicts.

    Raises
    ------
    InputError
        As in `validate`, and where values are three times or more from what the calibration
        predicts, with the likely cause.
    """
    measured = rows_to_fit(rows, calibration, force=force)
    return fit_rows(measured, calibration, progress, from_priors=from_priors)


def rows_to_fit(
    rows: Path | str | MeasuredRows | Sequence[Path | str | MeasuredRows],
    calibration: Path | str | None = None,
    *,
    force: bool = False,
) -> dict[str, ServingRow]:
    """Read and check the rows of `calibrate`, by where each stands; arguments are those of it."""
    from costmodel.outliers import check_outliers  # a search does without these
    from costmodel.stages import check_rows

    files = rows if isinstance(rows, Sequence) and not isinstance(rows, str) else [rows]
    found = [_rows_of(each, calibration) for each in files]
    measured = {
        f"{each.path}, line {line}": row for each in found for line, row in each.rows.items()
    }
    check_rows([*measured.values()], least=1)
    if not force:
        check_outliers(measured, calibration_file(calibration).calibration)
    return measured


def fit_rows(
    rows: Mapping[str, ServingRow],
    calibration: Path | str | None = None,
    progress: Callable[[], None] | None = None,
    *,
    from_priors: bool = False,
) -> Fit | Adaptation:
    """Fit the rows that `rows_to_fit` gives; arguments are those of `calibrate`."""
    from costmodel.adaptation import adapt  # a search does without these
    from costmodel.stages import calibrate as fit

    start, measured = calibration_file(calibration), tuple(rows.values())
    if from_priors:
        return fit(measured, start, progress)
    return replace(adapt(measured, start, progress), places=tuple(rows))


def _rows_of(
    rows: Path | str | MeasuredRows,
    calibration: Path | str | None,
    columns: Path | str | None = None,
) -> MeasuredRows:
    if isinstance(rows, Path | str):
        return read_rows(rows, calibration, columns)
    return rows
