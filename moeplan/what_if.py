"""What moves the cost of a machine, or the ratio of two, most: each thing lower and higher."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from costmodel.calibration import Calibration
from costmodel.results import Prediction
from moeplan.answers.break_even import apart_90, half_width
from moeplan.answers.build import version
from moeplan.answers.tornado import Map, Swing, Tornado
from moeplan.api import UNIT
from moeplan.arguments import checked_arguments
from moeplan.clusters import price_of
from moeplan.machines import machines_of
from moeplan.numbers import one_of, positive_number
from moeplan.options import DEFAULTS, Options
from moeplan.question import Question, ask
from optimizer.assumed import AssumedFact, assumed_facts, supposing
from optimizer.problem import Problem
from optimizer.search import curve
from optimizer.sensitivity import RESOURCES, UNITS, changed_cluster
from optimizer.space import Space
from presets import InfeasibleError, InputError
from presets.cluster import in_unit_of_file

BY = 1.25
"""Factor by which a figure is made lower and higher. [1]"""

MOST_BY = 10.0

STEPS = 5
"""Values of each thing of a map. [1]"""

MORE_CACHED = 0.5
"""Part of the input that is not cached as asked and is cached where more is. [1]"""

DOMAIN = 2.0
"""Factor on the GPUs of a domain, which come in powers of two. [1]"""

CALIBRATION = "calibration"


@dataclass(frozen=True)
class Pose:
    """A question with what is otherwise: keys of its cluster, assumed facts, acceptance."""

    sku: str | None
    options: Options
    target: float
    cluster: tuple[tuple[str, float], ...] = ()
    facts: tuple[tuple[AssumedFact, float], ...] = ()
    acceptance: float | None = None

    @cached_property
    def question(self) -> Question:
        """The question, looked up."""
        return ask(self.sku, self.options)

    def problems(self, space: Space | None) -> Iterator[Problem]:
        """Pose it in each serving mode that it asks about."""
        for mode in self.question.modes:
            problem = self.question.problem(self.target, space, mode)
            cluster = problem.cluster
            for key, value in self.cluster:
                cluster = changed_cluster(cluster, key, value)
            problem = supposing(replace(problem, cluster=cluster), dict(self.facts))
            if self.acceptance is not None:
                problem = problem.under(_accepting(problem.calibration, self.acceptance))
            yield problem


class Lever(NamedTuple):
    """One thing that is made lower and higher.

    Attributes
    ----------
    name, unit : str
    low, base, high : float or None
        In the unit.
    machines : tuple of str
        Labels of those that it changes.
    change : callable
        Gives a pose with a value of it.
    """

    name: str
    unit: str
    low: float | None
    base: float
    high: float | None
    machines: tuple[str, ...]
    change: Callable[[Pose, float], Pose]


class _End(NamedTuple):
    value: float | None
    at: float | None


class _Trials:
    """Answers to poses, each searched for once."""

    def __init__(self, poses: Mapping[str, Pose], space: Space | None) -> None:
        self.poses, self.space = dict(poses), space
        self._found: dict[Pose, Prediction | None] = {}

    def predictions(self, changes: Sequence[tuple[Lever, float]]) -> list[Prediction | None]:
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
        costs = [
            None if each is None else each.usd_per_m_total_tokens
            for each in self.predictions(changes)
        ]
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

    def _best(self, pose: Pose) -> Prediction | None:
        if pose not in self._found:
            answers = [
                curve(problem, [pose.target], explained=False)[0].prediction
                for problem in pose.problems(self.space)
            ]
            met = [each for each in answers if each is not None]
            cost = lambda each: each.usd_per_m_total_tokens  # noqa: E731
            self._found[pose] = min(met, key=cost, default=None)
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
    target, by = positive_number("target", target, UNIT), _factor(by)
    machines = machines_of(skus, options)
    if len(machines) > 2:
        raise InputError(f"machines: {len(machines)} are given; give one or two")
    poses = {each.label: Pose(each.sku, each.options, target) for each in machines}
    trials = _Trials(poses, space)
    now = trials.predictions(())
    for label, found in zip(poses, now, strict=True):
        if found is None:
            raise InfeasibleError(
                f"{label} does not meet {target:g} tok/s/user as asked, and so has no cost to move"
            )
    levers = list(_levers(poses, by, space))
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
    swings.append(_of_calibration(base, [each for each in now if each is not None]))
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


def _levers(poses: Mapping[str, Pose], by: float, space: Space | None) -> Iterator[Lever]:
    """Everything that is made lower and higher."""
    for label, pose in poses.items():
        yield from _of_machine(label, pose, by)
    yield from _of_question(poses, by)
    facts: dict[AssumedFact, list[str]] = {}
    for label, pose in poses.items():
        for fact in assumed_facts(next(pose.problems(space))):
            facts.setdefault(fact, []).append(label)
    for fact, labels in facts.items():
        yield _of_fact(fact, tuple(labels))


def _of_machine(label: str, pose: Pose, by: float) -> Iterator[Lever]:
    """Links, memory, size of a domain and price of one machine."""
    cluster = pose.question.cluster
    hardware = cluster.hardware()

    def lever(name: str, key: str, unit: str, base: float, factor: float) -> Lever:
        def change(pose: Pose, value: float) -> Pose:
            whole = int(value) if unit == "GPU" else value
            return replace(pose, cluster=(*pose.cluster, (key, whole)))

        low, high = (float(f"{end:.9g}") for end in (base / factor, base * factor))
        return Lever(f"{label}.{name}", unit, low, base, high, (label,), change)

    if not pose.options.within_data:  # another machine than the measured one is outside it
        for name, (key, fact, unit, _) in RESOURCES.items():
            yield lever(
                name, key, UNITS[name], float(f"{getattr(hardware, fact).value / unit:.9g}"), by
            )
        size = hardware.gpus_per_domain.value
        yield lever("domain_size", "gpus_per_domain", "GPU", size, DOMAIN)
    price = price_of(cluster)
    yield Lever(
        f"{label}.price",
        "USD/h",
        price / by,
        price,
        price * by,
        (label,),
        lambda pose, value: replace(pose, options=replace(pose.options, price=value)),
    )


def _of_question(poses: Mapping[str, Pose], by: float) -> Iterator[Lever]:
    """Lengths, cached share, target and drafts, the same of all machines."""
    first, all_of = next(iter(poses.values())), tuple(poses)
    options, target = first.options, first.target

    def lever(name: str, unit: str, low: float | None, base: float, high: float | None) -> Lever:
        def change(pose: Pose, value: float) -> Pose:
            given: dict[str, Any] = {name: int(value) if isinstance(base, int) else value}
            return replace(pose, options=replace(pose.options, **given))

        return Lever(name, unit, low, base, high, all_of, change)

    for name in ("isl", "osl"):
        length = getattr(options, name)
        low, high = max(2, round(length / by)), round(length * by)
        yield lever(name, "token", low, length, high)
    share = options.cached_share
    more = share + MORE_CACHED * (1.0 - share)
    yield lever("cached_share", "1", 0.0 if share else None, share, more)
    yield Lever(
        "target",
        UNIT,
        target / by,
        target,
        target * by,
        all_of,
        lambda pose, value: replace(pose, target=value),
    )
    yield Lever(
        "acceptance",
        "x drafts kept",
        1.0 / by,
        1.0,
        by,
        all_of,
        lambda pose, value: replace(pose, acceptance=value),
    )


def _of_fact(fact: AssumedFact, labels: tuple[str, ...]) -> Lever:
    """Make a lever of an assumed fact, between the ends of what other sources say."""

    def told(value: float) -> float:
        return in_unit_of_file(fact.fact, value, fact.unit)[0]

    factor = fact.value / told(fact.value)
    lower = [value for value in fact.alternatives if value < fact.value]
    higher = [value for value in fact.alternatives if value > fact.value]
    return Lever(
        f"{fact.sku}.assumed_{fact.fact}",
        in_unit_of_file(fact.fact, fact.value, fact.unit)[1],
        told(lower[0]) if lower else None,
        told(fact.value),
        told(higher[-1]) if higher else None,
        labels,
        lambda pose, value: replace(pose, facts=(*pose.facts, (fact, value * factor))),
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


def _of_calibration(base: float, now: Sequence[Prediction]) -> Swing:
    """Take the 90 % interval of the measure, the errors of two machines as independent."""
    apart = half_width(now[0]) if len(now) == 1 else apart_90(now[0], now[1])
    assert apart is not None  # both are predictions
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


def _accepting(calibration: Calibration, factor: float) -> Calibration:
    return calibration._replace(acceptance=calibration.acceptance * factor)


def _factor(by: float) -> float:
    by = positive_number("by", by, "1")
    if not 1.0 < by <= MOST_BY:
        raise InputError(f"by: {by:g} is not valid; give a factor above 1, at most {MOST_BY:g}")
    return by
