"""Rows of a user's table that no engine could have run, refused by file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from costmodel.calibration import Calibration
from costmodel.checks import check_memory, check_shape
from costmodel.deployments import (
    case_of,
    check_offered,
    deployments_of,
    memory_limit,
    prefill_memory_limit,
)
from costmodel.results import Case
from presets import DataFileError, InputError, ServingRow


def check_rows_run(rows: Mapping[str, ServingRow], calibration: Calibration) -> None:
    """Refuse a row that no engine could start, or that the model has no facts for.

    Parameters
    ----------
    rows
        By where each stands, such as "rows.csv, line 2".
    calibration
        Says how much of the memory holds KV caches.

    Raises
    ------
    DataFileError
        Naming the place, the value and what is valid.
    """
    cases = [_checked(place, row) for place, row in rows.items()]
    deployments = deployments_of(cases)
    limits = memory_limit(deployments, calibration).tolist()
    inputs = prefill_memory_limit(deployments, calibration).tolist()
    for place, case, limit, prefill in zip(rows, cases, limits, inputs, strict=True):
        with _at(place):
            check_memory(case, limit, prefill)


def _checked(place: str, row: ServingRow) -> Case:
    with _at(place):
        case = case_of(row)
        check_shape(case.configuration, case.scenario.model, case.cluster)
        check_offered(case)
    return case


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the place before what is wrong there."""
    try:
        yield
    except InputError as error:
        column = getattr(error, "key", None)
        problem = str(error).removeprefix(f"key {column}: ")
        raise DataFileError(problem, place, column=column) from None
