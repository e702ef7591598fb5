"""What moves the cost of a machine, or the ratio of two, most: each thing lower and higher."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from costmodel.ratios import Known, ratio_widths
from costmodel.results import Case
from moeplan.answers.apart import half_width
from moeplan.answers.build import version
from moeplan.answers.tornado import Map, Swing, Tornado
from moeplan.api import UNIT
from moeplan.arguments import checked_arguments
from moeplan.levers import Lever, Pose, levers_of
from moeplan.machines import machines_of
from moeplan.numbers import one_of, positive_number
from moeplan.options import DEFAULTS, Options
from optimizer.answer import Answer
from optimizer.search import curve
from optimizer.space import Space
from presets import InfeasibleError, InputError

BY = 1.25
"""Factor by which a figure is made lower and higher. [1]"""

MOST_BY = 10.0

STEPS = 5
"""Values of each thing of a map. [1]"""


CALIBRATION = "calibration"


class _End(NamedTuple):
    value: float | None
    at: float | None


class _Trials:
    """Answers to poses, each searched for once."""

    def __init__(self, poses: Mapping[str, Pose], space: Space | None) -> None:
        self.poses, self.space = dict(poses), space
        self._found: dict[Pose, Answer | None] = {}

    def answers(self, changes: Sequence[tuple[Lever, float]]) -> list[Answer | None]:
        """Best of each machine, with levers at some values."""
        found = []
        for label, pose in self.poses.items():
            changed = pose
            for lever, value in changes:
                if label in lever.machines:
                    changed = lever.change(changed, value)
            found.append(self._best(changed))
        return found

    def measure(self, *changes: tuple[Lever, float]) -> float | None:
        """Cost of the machine, or how many times cheaper the first is; None out of reach."""
        costs = [None if each is None else cost_of(each) for each in self.answers(changes)]
        if any(cost is None for cost in costs):
            return None
        first, *others = (float(cost) for cost in costs if cost is not None)
        return others[0] / first if others else first

    def cell(self, *changes: tuple[Lever, float]) -> float | None:
        """Try several levers at once; None where that cannot be asked."""
        try:
            return self.measure(*changes)
        except InputError:
            return None

    def end(self, lever: Lever, value: float | None) -> _End:
        """Try a lever at one end; a value that no such machine or question can have is none."""
        if value is None:
            return _End(None, None)
        try:
            return _End(value, self.measure((lever, value)))
        except InputError:
            return _End(None, None)

    def _best(self, pose: Pose) -> Answer | None:
        if pose not in self._found:
            answers = [
                curve(problem, [pose.target], explained=False)[0]
                for problem in pose.problems(self.space)
            ]
            met = [each for each in answers if each.prediction is not None]
            self._found[pose] = min(met, key=cost_of, default=None)
        return self._found[pose]


@checked_arguments
def sensitivity(
    skus: Sequence[str],
    target: float,
    options: Options | Mapping[str, Options] = DEFAULTS,
    *,
    by: float = BY,
    pair: Sequence[str] = (),
    space: Space | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tornado:
    """Say what moves the cost of one machine, or the ratio of two, most.

    Parameters
    ----------
    skus : sequence of str
        One machine or two, as `moeplan.compare` names them.
    target : float
        Interactivity. [token/s/user]
    options : Options or mapping
        For all machines, or for each by name.
    by : float
        Factor by which figures are made lower and higher. [1]
    pair : sequence of str
        Names of two swings that are mapped against each other; none makes no map.
    space : optimizer.Space, optional
        What is searched.
    progress : callable, optional
        Called with the number of answers that are still sought.

    Raises
    ------
    InputError
        Where something asked for is not valid.
    InfeasibleError
        Where a machine does not meet the target as asked.
    """
    target, by = positive_number("target", target, UNIT), read_by("by", by)
    machines = machines_of(skus, options)
    if len(machines) > 2:
        raise InputError(f"machines: {len(machines)} are given; give one or two")
    poses = {each.label: Pose(each.sku, each.options, target) for each in machines}
    trials = _Trials(poses, space)
    now = trials.answers(())
    for label, found in zip(poses, now, strict=True):
        if found is None:
            raise InfeasibleError(
                f"{label} does not meet {target:g} tok/s/user as asked, and so has no cost to move"
            )
    levers = list(levers_of(poses, by, space))
    chosen = _pair(pair, levers)
    base = trials.measure()
    assert base is not None  # each machine has a cost
    left = 2 * len(levers) + (STEPS**2 if chosen else 0)
    swings, left_out = list[Swing](), list[str]()
    for lever in levers:
        low = trials.end(lever, lever.low)
        high = trials.end(lever, lever.high)
        if low.value is None and high.value is None:
            left_out.append(lever.name)
        else:
            tried = lever._replace(low=low.value, high=high.value)
            swings.append(_swing(tried, base, low.at, high.at))
        left -= 2
        if progress:
            progress(left)
    known = [
        _known(answer, pose)
        for answer, pose in zip(now, poses.values(), strict=True)
        if answer is not None
    ]
    swings.append(_of_calibration(base, known))
    return Tornado(
        measure="ratio" if len(machines) > 1 else "cost",
        machines=tuple(poses),
        target_tok_s_per_user=target,
        base=base,
        swings=tuple(sorted(swings, key=_moves, reverse=True)),
        left_out=tuple(left_out),
        map=_map(trials, chosen, left, progress) if chosen else None,
        by=by,
        questions={label: pose.question for label, pose in poses.items()},
        version=version(),
    )


def _swing(lever: Lever, base: float, at_low: float | None, at_high: float | None) -> Swing:
    asked = [at for value, at in ((lever.low, at_low), (lever.high, at_high)) if value is not None]
    moves = None
    if None not in asked:
        moves = max(abs(math.log(at / base)) for at in asked if at is not None)
    return Swing(
        name=lever.name,
        unit=lever.unit,
        low=lever.low,
        base=lever.base,
        high=lever.high,
        at_low=at_low,
        at_high=at_high,
        moves_by=moves,
    )


def cost_of(answer: Answer) -> float:
    """Cost of an answer that has a deployment [USD per million tokens]."""
    assert answer.prediction is not None
    return answer.prediction.usd_per_m_total_tokens


def _known(answer: Answer, pose: Pose) -> Known:
    problem = answer.problem
    assert answer.configuration is not None  # only asked of answers that have a deployment
    assert answer.prediction is not None
    case = Case(answer.configuration, problem.scenario, problem.cluster, problem.prefill_cluster)
    return Known(case, half_width(answer.prediction), pose.question.constants)


def _of_calibration(base: float, known: Sequence[Known]) -> Swing:
    """Take the 90 % interval of the measure, errors that two machines share left out."""
    apart = known[0].half_width if len(known) == 1 else float(ratio_widths(known)[0, 1])
    return Swing(
        name=CALIBRATION,
        unit="90 % interval",
        low=None,
        base=None,
        high=None,
        at_low=base * math.exp(-apart),
        at_high=base * math.exp(apart),
        moves_by=apart,
    )


def _moves(swing: Swing) -> float:
    return math.inf if swing.moves_by is None else swing.moves_by


def _pair(names: Sequence[str], levers: Sequence[Lever]) -> tuple[Lever, Lever] | None:
    if not names:
        return None
    by_name = {lever.name: lever for lever in levers}
    first, second = (by_name[one_of("map", name, tuple(by_name))] for name in _two(names, by_name))
    return first, second


def _two(names: Sequence[str], known: Mapping[str, Lever]) -> Sequence[str]:
    if len(names) != 2 or names[0] == names[1]:
        raise InputError(
            f"map: {', '.join(names)} is not valid; give two different of {', '.join(known)}"
        )
    return names


def _map(
    trials: _Trials,
    levers: tuple[Lever, Lever],
    left: int,
    progress: Callable[[int], None] | None,
) -> Map:
    first, second = levers
    rows, columns = _values(first), _values(second)
    values = []
    for row in rows:
        line = []
        for column in columns:
            line.append(trials.cell((first, row), (second, column)))
            left -= 1
            if progress:
                progress(left)
        values.append(tuple(line))
    return Map(
        names=(first.name, second.name),
        units=(first.unit, second.unit),
        rows=rows,
        columns=columns,
        values=tuple(values),
    )


def _values(lever: Lever) -> tuple[float, ...]:
    """Values of a lever, from its low end over its base to its high end."""
    low = lever.base if lever.low is None else lever.low
    high = lever.base if lever.high is None else lever.high
    half = STEPS // 2
    shares = [step / half for step in range(half + 1)]
    below = [low + share * (lever.base - low) for share in shares[:-1]] if low < lever.base else []
    above = [lever.base + share * (high - lever.base) for share in shares[1:]]
    every = [*below, lever.base, *(above if high > lever.base else [])]
    whole = all(float(end).is_integer() for end in (low, lever.base, high))
    return tuple(dict.fromkeys(float(round(value)) if whole else value for value in every))


def read_by(name: str, value: str | float) -> float:
    """Read the factor by which figures are made lower and higher [1].

    Raises
    ------
    InputError
        Naming what was given.
    """
    by = positive_number(name, value, "1")
    if not 1.0 < by <= MOST_BY:
        raise InputError(f"{name}: {by:g} is not valid; give a factor above 1, at most {MOST_BY:g}")
    return by
