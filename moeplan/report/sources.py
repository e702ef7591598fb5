"""What a report rests on: prices, facts and data with their sources, and how right the model is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from costmodel.validation import serving_row_of, validate
from moeplan.answers.apart import half_width
from moeplan.answers.best import Best
from moeplan.answers.build import summary_of
from moeplan.answers.comparison import Comparison, ComparisonRow
from moeplan.answers.reasons import of_requests
from moeplan.question import Question
from moeplan.render.common import (
    configuration_label,
    fact_name,
    fact_value,
    served,
)
from moeplan.report.measured import gaps_of
from presets import (
    ClusterSpec,
    ServingRow,
    aggregated_rows,
    load_prices,
    measurement_sources,
    published_rows,
    serving_rows,
)
from presets.facts import Fact

KINDS_OF_ROWS = (
    ("sku", "model", "precision", "framework", "serving", "isl", "osl"),
    ("sku", "model", "precision", "serving"),
    ("sku", "precision"),
    ("sku",),
)
"""In what measured rows must be as the question for its accuracy, the nearest first."""

FIGURES = {"tpot": "TPOT", "throughput": "tok/s/GPU", "ttft": "TTFT"}


def sources_of(comparison: Comparison, curves: Mapping[str, Sequence[Best]]) -> dict[str, Any]:
    """Write the sections of a page that no price and no target changes."""
    questions = {sku: answers[0].question for sku, answers in curves.items()}
    # A machine that stands there on two engines has its facts told once.
    first = {question.cluster: sku for sku, question in reversed(questions.items())}
    machines = {sku: each.cluster for sku, each in questions.items() if sku in first.values()}
    return {
        "assumptions": list(_assumptions(questions)),
        "facts": [line for sku, cluster in machines.items() for line in _facts(sku, cluster)],
        "accuracy": [line for sku, each in questions.items() for line in _accuracy(sku, each)],
        "next": list(_next_runs(comparison)),
    }


def _assumptions(questions: Mapping[str, Question]) -> Iterator[dict[str, Any]]:
    """Give prices, what is served, limits and the data behind the measured figures."""
    for sku, question in questions.items():
        yield _price(sku, question)
    for text in dict.fromkeys(served(summary_of(each.scenario)) for each in questions.values()):
        yield _line("What is served", text)
    for text in dict.fromkeys(_limits(question) for question in questions.values()):
        yield _line("Limits", text)
    for text in dict.fromkeys(str(q.options.calibration or "shipped") for q in questions.values()):
        yield _line("Constants of the model", f"{text} calibration")
    table = measurement_sources()["inferencex_2026-05-22"]
    yield _line("Measured frontier", table.note, table.source, table.date.isoformat(), table.kind)


def _price(sku: str, question: Question) -> dict[str, Any]:
    """Say what a GPU-hour costs, by whom, and what others say."""
    value = question.cluster.hardware().price_usd_per_hour.value
    name, told = f"Price of {sku}", f"${value:.2f} per GPU-hour"
    if question.price_set is None:
        return _line(name, told, "given with the question")
    prices = load_prices(question.price_set)
    fact = prices.prices[question.sku]
    others = ", ".join(f"${each.value:.2f} ({each.note})" for each in fact.alternatives)
    text = f"{told}: {fact.note}" + (f"; others: {others}" if others else "")
    return _line(name, text, fact.source, fact.date.isoformat(), fact.kind)


def _limits(question: Question) -> str:
    options = question.options
    parts = [f"at most {options.max_gpus:,} GPUs", f"{options.serving} serving"]
    if options.max_ttft is not None:
        share = of_requests(options.ttft_percentile)
        parts.append(f"{'' if share else 'mean '}TTFT of at most {options.max_ttft:g} s{share}")
    if options.target_percentile is not None:
        parts.append(f"targets met{of_requests(options.target_percentile)}")
    if options.min_confidence is not None:
        parts.append(f"met with a probability of {options.min_confidence:g}")
    if options.within_data:
        parts.append("inside the data of the calibration")
    if options.rate is not None:
        parts.append(f"{options.rate:g} requests/s")
    parts.append(f"best by {question.objective}, billed by {options.billing}")
    return ", ".join(parts)


def _facts(sku: str, cluster: ClusterSpec) -> Iterator[dict[str, Any]]:
    for name, fact in cluster.hardware().facts.items():
        if name != "price_usd_per_hour":
            yield _fact(sku, name, fact)


def _fact(sku: str, name: str, fact: Fact) -> dict[str, Any]:
    text = fact_value(name, fact.value, fact.unit)
    if others := {each.value for each in fact.alternatives} - {fact.value}:
        text += "; others: " + ", ".join(fact_value(name, o, fact.unit) for o in sorted(others))
    given = fact.source == "cluster file"  # dated when it is read: the page stays the same
    dated = "" if given else fact.date.isoformat()
    return _line(f"{sku}: {fact_name(name)}", text, fact.source, dated, fact.kind)


def _line(name: str, text: str, source: str = "", date: str = "", kind: str = "") -> dict[str, Any]:
    return {"name": name, "text": text, "source": source, "date": date, "kind": kind}


def _accuracy(sku: str, question: Question) -> Iterator[dict[str, Any]]:
    """Predict the measured rows nearest to a question, and say how far off that is."""
    scenario = question.scenario
    asked = {
        "sku": question.cluster.sku,
        "model": scenario.model.name,
        "precision": scenario.precision,
        "framework": scenario.engine,
        "serving": question.modes[0],
        "isl": scenario.isl,
        "osl": scenario.osl,
    }
    unseen = [serving_row_of(row) for row in published_rows()]
    seen = [row for row in (*serving_rows(), *aggregated_rows()) if not row.suspect]
    for rows, was in ((unseen, "no constant is fitted to them"), (seen, "constants are fitted")):
        near, keys = _nearest(rows, asked)
        if near:
            found = validate(near, question.constants.calibration).statistics()
            yield {
                "sku": sku,
                "rows": len(near),
                "alike": ", ".join(f"{key} {asked[key]}" for key in keys if key != "sku"),
                "fitted": was,
                "figures": {
                    title: {key: found[name][key] for key in ("known", "mape", "coverage_90")}
                    for name, title in FIGURES.items()
                },
            }


def _nearest(
    rows: Sequence[ServingRow], asked: Mapping[str, Any]
) -> tuple[list[ServingRow], tuple[str, ...]]:
    """Find the rows that agree with a question in most, and in what they do."""
    for keys in KINDS_OF_ROWS:
        found = [row for row in rows if all(getattr(row, key) == asked[key] for key in keys)]
        if found:
            return found, keys
    return [], ()


def _next_runs(comparison: Comparison) -> Iterator[str]:
    """Name the runs that would narrow the comparison most, and the gaps that targets fall into.

    Of each target the deployment whose interval is widest; of each machine the widest of those.
    """
    widest = sorted(filter(None, map(_widest, comparison.rows)), reverse=True)
    first = {run.sku: run for run in reversed(widest)}
    for run in sorted(first.values(), reverse=True):
        why = f", as nobody measured {run.outside}" if run.outside else ""
        yield (
            f"{run.label} on {run.sku}, the best as modelled at {run.target:g} tok/s/user: its "
            f"cost is known within a factor of {math.exp(run.half_width):.2f} only{why}."
        )
    asked = [row.target_tok_s_per_user for row in comparison.rows]
    for sku, question in comparison.questions.items():
        for gap in gaps_of(question):
            if any(gap["from"] < target < gap["to"] for target in asked):
                yield (
                    f"Any run on {sku} from {gap['from']:.1f} to {gap['to']:.1f} tok/s/user: none "
                    f"is published there, and throughput falls {gap['fall']:.1f}-fold."
                )


class _Run(NamedTuple):
    """A deployment, and how well its cost is known: half of its interval, of the logarithm."""

    half_width: float
    sku: str
    label: str
    target: float
    outside: str


def _widest(row: ComparisonRow) -> _Run | None:
    """Find the deployment that is known least at a target."""
    found = [
        _Run(
            half_width(modelled),
            sku,
            configuration_label(modelled.config),
            row.target_tok_s_per_user,
            ", ".join(modelled.extrapolated_in),
        )
        for sku, pair in row.pairs.items()
        if (modelled := pair.modelled) is not None
    ]
    return max(found, default=None)
