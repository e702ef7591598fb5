"""CP-SAT by OR-Tools' linear interface, with its parameters set."""

from __future__ import annotations

import threading
import warnings
from functools import cache
from typing import Any

PARAMETERS = "num_workers:1 random_seed:0 catch_sigint_signal:false"
"""One worker and one seed: the same call gives the same answer. Ctrl-C is answered by Python."""

LARGEST = 2**50
"""Largest objective coefficient; integers up to 2^53 are exact in the solver's interface."""


@cache
def _bindings() -> Any:
    """OR-Tools' linear interface, which runs CP-SAT too.

    The other one, ``ortools.sat.python.cp_model``, imports pandas: 0.3 s and 50 MB more for
    the same solver.
    """
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


def new_solver() -> Any:
    """CP-SAT with its parameters set."""
    solver = _bindings().Solver.CreateSolver("SAT")
    if not solver.SetSolverSpecificParametersAsString(PARAMETERS):
        raise RuntimeError(f"CP-SAT refuses its parameters {PARAMETERS!r}")
    return solver
