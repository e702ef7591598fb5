"""Integer programs as data: variables, rows and an objective, which can be written and solved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from optimizer.solver import LARGEST, new_solver, solve

ROW_SLACK = 1e-9
"""Share of its limit by which a row may be missed: below a billion that is nothing. [1]"""

Terms = Mapping[int, int]
"""From the place of a variable to its coefficient."""


class Variable(NamedTuple):
    """A whole number to be chosen."""

    name: str
    low: int
    high: int


class Row(NamedTuple):
    """What a sum of variables must reach, or not exceed; None is no limit."""

    rule: str  # that it is of
    terms: Terms
    least: int | None
    most: int | None


class Solved(NamedTuple):
    """What the solver found.

    Attributes
    ----------
    values : tuple of int or None
        Of each variable; None where nothing was found.
    bound : int or None
        The objective is proven to be no less; None where that is infinity, as nothing is feasible.
    is_optimal : bool
        Whether the values are proven to have the least objective.
    was_stopped : bool
        Whether Ctrl-C ended it.
    """

    values: tuple[int, ...] | None
    bound: int | None
    is_optimal: bool
    was_stopped: bool = False


@dataclass
class Program:
    """A linear program of whole numbers that makes its objective least.

    Examples
    --------
    >>> program = Program()
    >>> apples = program.variable("apples", 0, 9)
    >>> program.row("hunger", {apples: 3}, least=7)
    >>> program.minimise({apples: 2})
    >>> print(program.text())
    least 2 apples
    hunger: 3 apples >= 7
    0 <= apples <= 9
    >>> program.solve().values
    (3,)
    """

    variables: list[Variable] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    objective: Terms = field(default_factory=dict)

    def variable(self, name: str, low: int, high: int) -> int:
        """Add a variable and give its place."""
        self.variables.append(Variable(name, low, high))
        return len(self.variables) - 1

    def row(
        self, rule: str, terms: Terms, least: int | None = None, most: int | None = None
    ) -> None:
        """Add a constraint of a rule.

        Raises
        ------
        OverflowError
            If its sum could leave the integers that the solver counts with exactly.
        """
        self._check(terms)
        self.rows.append(Row(rule, dict(terms), least, most))

    def minimise(self, terms: Terms) -> None:
        """Set the objective; exceptions are those of `row`."""
        self._check(terms)
        self.objective = dict(terms)

    def largest(self, terms: Terms) -> int:
        """Bound the absolute value of a sum."""
        return sum(
            abs(factor) * max(abs(self.variables[place].low), abs(self.variables[place].high))
            for place, factor in terms.items()
        )

    def _check(self, terms: Terms) -> None:
        if (most := self.largest(terms)) > LARGEST:
            raise OverflowError(f"a sum may reach {most}, beyond {LARGEST}")

    def text(self, rule: str | None = None) -> str:
        """Write the program, or the rows of one rule alone."""
        lines = [] if rule else [f"least {self._sum(self.objective)}"]
        for row in self.rows:
            if rule in (None, row.rule):
                lines.append(f"{row.rule}: {self._sum(row.terms)} {_limits(row)}")
        if rule is None:
            lines += [f"{each.low} <= {each.name} <= {each.high}" for each in self.variables]
        return "\n".join(lines)

    def _sum(self, terms: Terms) -> str:
        parts = [
            f"{'-' if factor < 0 else '+'} "
            f"{'' if abs(factor) == 1 else f'{abs(factor)} '}{self.variables[place].name}"
            for place, factor in terms.items()
            if factor
        ]
        return " ".join(parts).removeprefix("+ ") or "0"

    def solve(self, seconds: float = math.inf, gap: float = 0.0) -> Solved:
        """Make the objective least, for no longer than some time.

        Parameters
        ----------
        seconds : float
            [s]
        gap : float
            Share of the objective by which the bound may stay below it. [1]

        Raises
        ------
        RuntimeError
            Where the solver refuses the program, or breaks a row.
        """
        solver = new_solver(gap)
        places = [solver.IntVar(each.low, each.high, each.name) for each in self.variables]
        for row in self.rows:
            scale = _scale(row.terms)
            low = -solver.infinity() if row.least is None else row.least * scale
            high = solver.infinity() if row.most is None else row.most * scale
            constraint = solver.Constraint(low, high)
            for place, factor in row.terms.items():
                constraint.SetCoefficient(places[place], factor * scale)
        objective, scale = solver.Objective(), _scale(self.objective)
        objective.SetMinimization()
        for place, factor in self.objective.items():
            objective.SetCoefficient(places[place], factor * scale)
        if math.isfinite(seconds):
            solver.set_time_limit(max(1, round(1e3 * seconds)))
        status, was_stopped = solve(solver)
        if status == solver.INFEASIBLE:
            return Solved(None, None, is_optimal=False)
        if status not in (solver.OPTIMAL, solver.FEASIBLE, solver.NOT_SOLVED):
            raise RuntimeError(f"SCIP refuses the program, status {status}")
        bound = _rounded_up(objective.BestBound() / scale) if self.objective else 0
        if status == solver.NOT_SOLVED:
            return Solved(None, bound, is_optimal=False, was_stopped=was_stopped)
        values = tuple(round(place.solution_value()) for place in places)
        if not is_met(self.rows, values):
            raise RuntimeError("SCIP gave values that break a row")
        reached = sum(factor * values[place] for place, factor in self.objective.items())
        is_optimal = reached <= bound or (status == solver.OPTIMAL and not gap)
        return Solved(values, reached if is_optimal else bound, is_optimal, was_stopped)


def is_met(rows: Iterable[Row], values: tuple[int, ...]) -> bool:
    """Whether values keep all rows, to a billionth of their limits, as SCIP does."""
    for row in rows:
        total = sum(factor * values[place] for place, factor in row.terms.items())
        if row.least is not None and total < row.least - ROW_SLACK * abs(row.least):
            return False
        if row.most is not None and total > row.most + ROW_SLACK * abs(row.most):
            return False
    return True


def _scale(terms: Terms) -> float:
    """Power of two that brings the largest coefficient to 1 or just below 2: nothing is rounded."""
    return 2.0 ** (1 - max([1, *map(abs, terms.values())]).bit_length())


def _rounded_up(bound: float) -> int:
    """Round a bound up to whole numbers, unless it is one but for the last digits of floats."""
    return math.ceil(bound - 1e-9 * max(abs(bound), 1.0))


def _limits(row: Row) -> str:
    if row.least is not None and row.least == row.most:
        return f"= {row.least}"
    least = f">= {row.least}" if row.least is not None else ""
    most = f"<= {row.most}" if row.most is not None else ""
    return " ".join(filter(None, (least, most)))
