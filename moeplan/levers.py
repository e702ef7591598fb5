"""What moves an answer, each a lever: figures of a machine, of the question, assumed facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from costmodel.calibration import Calibration
from moeplan.api import UNIT
from moeplan.clusters import price_of
from moeplan.options import Options
from moeplan.question import Question, ask
from optimizer.assumed import AssumedFact, assumed_facts, supposing
from optimizer.problem import Problem
from optimizer.sensitivity import RESOURCES, UNITS, changed_cluster
from optimizer.space import Space
from presets.cluster import in_unit_of_file

MORE_CACHED = 0.5
"""Part of the input that is not cached as asked and is cached where more is. [1]"""


DOMAIN = 2.0
"""Factor on the GPUs of a domain, which come in powers of two. [1]"""


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


def levers_of(poses: Mapping[str, Pose], by: float, space: Space | None) -> Iterator[Lever]:
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


def _accepting(calibration: Calibration, factor: float) -> Calibration:
    return calibration._replace(acceptance=calibration.acceptance * factor)
