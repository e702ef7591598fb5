"""Whether remedies are true: what is printed where nothing meets the limits is taken and tried.

``python -m benchmarks.remedies [QUESTIONS [SEED]]`` asks until so many questions had no answer,
reads each remedy from the sentence as a user would, and asks again with it. Counted are remedies
that do not work, those that are not the nearest (a value between it and what was asked works as
well), and dead ends that are none.
"""

from __future__ import annotations

import math
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import moeplan
from moeplan import Options
from moeplan.question import ask
from optimizer import Space, curve
from presets.pools import Serving

SPACE = Space(
    prefill_workers=(1, 2, 4),
    prefill_gpus=(4, 8),
    decode_workers=(1, 2),
    decode_gpus=(4, 8, 16),
    mtp_depths=(0, 2),
    batch_ratio=1.25,
)
"""Small: a question is asked some fifty times."""

WAYS = {
    "target": r"(?:the target would have to be|the nearest target that works is) ([\d.]+)",
    "max_ttft": r"the TTFT would have to be ([\d.e+]+)",
    "concurrency": r"the concurrency would have to be (\d+)",
    "rate": r"the rate would have to be ([\d.e+]+)",
    "max_gpus": r"the budget would have to be (\d+) GPUs",
}
"""How a sentence says what a limit would have to be."""

REACHED = r"the fastest step .* tokens, ([\d.]+) tok/s/user"
"""How it says so where the target is out of reach by itself."""

WITHOUT = {
    "max_ttft": "without a limit on TTFT",
    "concurrency": "without a given concurrency",
    "rate": "without a rate",
    "max_gpus": "with all GPUs of the cluster",
    "target": "at any target",
}
"""How it says what is left out, where no change of one limit would do."""

PROBES = (0.06, 0.25, 0.5, 0.75, 0.94)
"""Where between a remedy and what was asked other values are tried, on a logarithmic scale; beside
the value that is next to the remedy. [1]"""

BESIDE = {"target": 1.006, "max_ttft": 1 / 1.016, "rate": 1.0025}
"""Ratio to a remedy that must not work: how finely it is sought, and how it is rounded. [1]"""


@dataclass(frozen=True)
class Asked:
    """One question.

    Attributes
    ----------
    sku : str
    target : float
        [token/s/user]
    options : Options
    """

    sku: str
    target: float
    options: Options

    def answer(self) -> moeplan.Best:
        """Ask it."""
        return moeplan.best(self.sku, self.target, self.options, space=SPACE)

    def value(self, limit: str) -> Any:
        """Give what a limit was asked to be."""
        return self.target if limit == "target" else getattr(self.options, limit)

    def with_limit(self, limit: str, value: float) -> Asked:
        """Ask for another value of one limit."""
        if limit == "target":
            return replace(self, target=value)
        kind = int if limit in ("max_gpus", "concurrency") else float
        return replace(self, options=replace(self.options, **{limit: kind(value)}))

    def without(self, limit: str) -> Asked:
        """Ask without one limit."""
        if limit == "target":
            return replace(self, target=0.1)
        if limit == "rate":
            options = replace(self.options, objective="throughput", rate=None)
        else:
            options = replace(self.options, **{limit: 72 if limit == "max_gpus" else None})
        return replace(self, options=options)

    def works(self, limit: str, value: float) -> bool:
        """Whether anything is found with another value of one limit."""
        asked = self.with_limit(limit, value)
        modes = ask(asked.sku, asked.options).modes
        return any(asked.is_met(mode) for mode in modes)

    def is_met(self, mode: Serving) -> bool:
        """Whether anything is found in a mode; as `answer` does, without the reasons."""
        problem = ask(self.sku, self.options).problem(self.target, SPACE, mode)
        try:
            return curve(problem, [self.target], explained=False)[0].winner is not None
        except moeplan.InputError:  # too few GPUs for this mode
            return False


def drawn(rng: random.Random) -> Asked:
    """Draw a question of any mode and objective, with some limits."""
    objective = rng.choice(("cost", "throughput", "output-cost", "power", "gpus", "gpus"))
    sku = rng.choice(("gb200", "b200", "h200"))
    mode = rng.choice(("disaggregated", "aggregated", "either"))

    def spread(low: float, high: float) -> float:
        return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")

    def sometimes(value: Any) -> Any:
        return value if rng.random() < 0.4 else None

    options = Options(
        isl=rng.choice((1024, 1024, 8192)),
        serving=mode,
        max_gpus=rng.choice((12, 16, 16, 24)),
        max_ttft=sometimes(spread(0.05, 5.0)),
        concurrency=sometimes(round(spread(1, 3000))),
        min_confidence=sometimes(rng.choice((0.5, 0.8, 0.95))),
        within_data=rng.random() < 0.2,
        objective=objective,
        billing=rng.choice(("gpu", "domain")),
        rate=spread(1.0, 200.0) if objective == "gpus" else None,
        price=sometimes(spread(1.0, 5.0)),
    )
    return Asked(sku, spread(10.0, 500.0), options)


def unanswered(seed: int) -> Iterator[tuple[Asked, str]]:
    """Draw questions without end, and give those that have no answer, with the reason."""
    rng = random.Random(seed)
    while True:
        asked = drawn(rng)
        try:
            answer = asked.answer()
        except moeplan.InputError:
            continue  # options that do not go together, or a cluster too small for the model
        if answer.reason is not None:
            yield asked, answer.reason


def parts(asked: Asked, reason: str) -> Iterator[tuple[Asked, str]]:
    """Part a reason into what is said of the question, and of it without some limits."""
    if mode := re.match(r"in (\w+) serving ", reason):
        asked = replace(asked, options=replace(asked.options, serving=mode[1]))
    for part in re.split(f"; (?={'|'.join(WITHOUT.values())})", reason):
        fewer = asked
        for limit, words in WITHOUT.items():
            fewer = fewer.without(limit) if words in part else fewer
        yield fewer, part


def remedies(reason: str) -> dict[str, float]:
    """Read what each limit would have to be."""
    found = {limit: re.findall(way, reason) for limit, way in WAYS.items()}
    if "no target works" not in reason:
        found["target"] += re.findall(REACHED, reason)
    return {limit: float(values[0]) for limit, values in found.items() if values}


def beside(asked: Asked, limit: str, remedy: float) -> list[float]:
    """List values that are nearer to what was asked than the remedy, none of which may work."""
    wanted = float(asked.value(limit))
    if limit in BESIDE:
        step = (remedy + (0.1 if limit == "target" else 0.0)) * BESIDE[limit]  # printed to a tenth
    else:
        step = remedy - 1 if limit == "max_gpus" else remedy + 1
    if (step - remedy) * (wanted - step) <= 0.0:
        return []
    ratio = math.log(wanted / step)
    probes = [step, *(step * math.exp(share * ratio) for share in PROBES)]
    return [round(probe) if limit in ("max_gpus", "concurrency") else probe for probe in probes]


def check(asked: Asked, reason: str) -> Iterator[tuple[str, str]]:
    """Try every remedy of a reason; give each limit with what became of it."""
    ways = 0
    for less, part in parts(asked, reason):
        found = remedies(part)
        ways += len(found)
        for limit, value in found.items():
            if not less.works(limit, value):
                yield limit, "does not work"
                continue
            nearer = beside(less, limit, value)
            shy = any(less.works(limit, each) for each in nearer if each != less.value(limit))
            yield limit, "is not the nearest" if shy else "holds"
        if "no target works" in part:
            yield "target", "works all the same" if less.works("target", 0.1) else "has none"
    if not ways:
        yield "none", "no way out is named"


GOOD = ("holds", "has none")
"""What may become of what is said."""


def main(questions: int = 200, seed: int = 13) -> None:
    """Try the remedies of so many questions, and print what became of them."""
    seen: Counter[tuple[str, str]] = Counter()
    for number, (asked, reason) in zip(range(questions), unanswered(seed), strict=False):
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {questions}", end="", file=sys.stderr)
        for limit, became in check(asked, reason):
            seen[limit, became] += 1
            if became not in GOOD:
                print(f"{number}: {limit} {became}: {asked}\n    {reason}", flush=True)
    for (limit, became), count in sorted(seen.items()):
        print(f"{limit:12} {became:24} {count}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
