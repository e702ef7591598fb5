"""Rows of a user's table that no engine could have run, by line."""

from __future__ import annotations

from collections.abc import Mapping

from costmodel.calibration import Calibration
from costmodel.checks import check_memory, check_shape
from costmodel.deployments import (
    case_of,
    check_offered,
    deployments_of,
    memory_limit,
    prefill_memory_limit,
)
from costmodel.engine_rules import check_exchange
from costmodel.results import Case
from presets import InputError, ServingRow


def rows_that_cannot_run(
    rows: Mapping[int, ServingRow], calibration: Calibration
) -> dict[int, str]:
    """Find rows that no engine could start, or that the model has no facts for.

    Parameters
    ----------
    rows
        By line of the file.
    calibration
        Says how much of the memory holds KV caches.

    Returns
    -------
    dict
        What is wrong and what is valid, by line.
    """
    refused: dict[int, str] = {}
    cases: dict[int, Case] = {}
    for line, row in rows.items():
        try:
            cases[line] = _checked(row)
        except InputError as error:
            refused[line] = _reason(error)
    if not cases:
        return refused
    deployments = deployments_of(list(cases.values()))
    limits = memory_limit(deployments, calibration).tolist()
    inputs = prefill_memory_limit(deployments, calibration).tolist()
    for (line, case), limit, prefill in zip(cases.items(), limits, inputs, strict=True):
        try:
            check_memory(case, limit, prefill)
        except InputError as error:
            refused[line] = _reason(error)
    return refused


def _checked(row: ServingRow) -> Case:
    case = case_of(row)
    check_shape(case.configuration, case.scenario.model, case.cluster)
    check_exchange(case.configuration, case.scenario.engine)
    check_offered(case)
    return case


def _reason(error: InputError) -> str:
    """Name a column where the error names a key."""
    key = getattr(error, "key", None)
    return str(error) if key is None else f"column {key}: {str(error).removeprefix(f'key {key}: ')}"
