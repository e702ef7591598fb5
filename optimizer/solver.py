"""SCIP by OR-Tools' linear interface, with its parameters set.

Its relaxations bound programs of many counts far closer than CP-SAT's search does.
"""

from __future__ import annotations

import threading
import warnings
from functools import cache
from typing import Any

PARAMETERS = "numerics/feastol = 1e-9\nmisc/catchctrlc = FALSE\nlimits/gap = {gap!r}\n"
"""Rows are kept to a billionth of their limits: of whole numbers below that, exactly. Ctrl-C is
answered by Python."""

LARGEST = 2**50
"""Largest objective coefficient; integers up to 2^53 are exact in the solver's interface."""


@cache
def _bindings() -> Any:
    """OR-Tools' linear interface, which imports nothing else."""
    with warnings.catch_warnings():
        # Generated bindings warn of their own types on newer Python versions.
        warnings.simplefilter("ignore", DeprecationWarning)
        from ortools.linear_solver import pywraplp  # only a search needs the solver
    return pywraplp


def solve(solver: Any) -> tuple[int, bool]:
    """Solve, and stop at Ctrl-C: gives the status, and whether it was stopped.

    The solver runs beside the main thread, which alone is told of Ctrl-C.
    """
    found: list[int] = []
    is_done, was_stopped = threading.Event(), False

    def run() -> None:
        try:
            found.append(solver.Solve())
        finally:
            is_done.set()

    threading.Thread(target=run, daemon=True).start()
    while not is_done.is_set():
        try:
            is_done.wait()
        except KeyboardInterrupt:
            was_stopped = True
            solver.InterruptSolve()
    return found[0], was_stopped


def new_solver(gap: float = 0.0) -> Any:
    """SCIP with its parameters set, to stop within a gap of its bound [1]."""
    solver = _bindings().Solver.CreateSolver("SCIP")
    parameters = PARAMETERS.format(gap=gap)
    if not solver.SetSolverSpecificParametersAsString(parameters):
        raise RuntimeError(f"SCIP refuses its parameters {parameters!r}")
    return solver
