"""Published headline figures beside predictions: ``python -m tools.scoreboard docs/scoreboard.md``.

Each prediction is the best deployment that the search finds for the published question, as anyone
would ask it, with the shipped constants; nothing here is fitted, and no miss is left out.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import moeplan
from moeplan.answers.build import version
from moeplan.machines import machine_of
from moeplan.question import ask
from moeplan.recipes.markdown import prose
from moeplan.recipes.markdown import rows as table
from presets import (
    InputError,
    ServingRow,
    aggregated_rows,
    corpus_rows,
    iso_rows,
    measurement_sources,
    serving_rows,
)
from presets.files import write_whole

FILE = Path(__file__).with_name("headlines.toml")
NOTICE = "<!-- Made by `make scoreboard`. -->\n\n"
OPTIONS = ("model", "precision", "engine", "serving", "isl", "osl")
WHOLE, DASH = "{:,.0f}", "-"

INTRODUCTION = r"""Published headline figures beside what moeplan {version} predicts for the same
question: the best deployment of its search, with the shipped constants, misses included. A
published figure is what someone ran, so a search may rightly find a better one; one that is
interpolated across a gap says what was measured around it. The last column counts shipped rows, not
marked as suspect, of the same machine, model, engine, precision, lengths and serving mode, else of
fewer of these: where they are of this question the figure is no test from outside. \* extrapolated,
outside the data. `make scoreboard` renews this page, and each release keeps its own."""


class Figure(NamedTuple):
    """A published figure: total throughput per GPU of a machine at an interactivity [token/s]."""

    machine: str
    target: float
    tok_s_per_gpu: float


class Headline(NamedTuple):
    """A published comparison.

    Attributes
    ----------
    title, source, date : str
    options : moeplan.Options
        What was served.
    figures : tuple of Figure
    assumed : str
        What the publisher leaves open; blank for nothing.
    """

    title: str
    source: str
    date: str
    options: moeplan.Options
    figures: tuple[Figure, ...]
    assumed: str = ""


def headlines() -> list[Headline]:
    """All published comparisons that the model can express, the oldest first."""
    read = [
        Headline(
            each["title"],
            each["source"],
            each["date"].isoformat(),
            moeplan.Options(**{name: each[name] for name in OPTIONS if name in each}),
            tuple(Figure(**figure) for figure in each["figures"]),
            each["assumed"],
        )
        for each in _content()["headline"]
    ]
    return sorted([_published_table(), *read], key=lambda each: each.date)


def _content() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def _published_table() -> Headline:
    """Give the shipped comparison of GB200 and B200 at equal interactivity."""
    source = measurement_sources()["inferencex_2026-05-22_iso"]
    figures = [
        Figure(sku, row.tok_s_per_user, float(value))
        for row in iso_rows()
        for sku in ("gb200", "b200")
        if (value := getattr(row, f"{sku}_tok_s_per_gpu")) is not None
    ]
    title = "DeepSeek R1 in FP4, GB200 against B200"
    return Headline(
        title, source.source, source.date.isoformat(), moeplan.Options(), tuple(figures)
    )


def known(machine: str, options: moeplan.Options) -> str:
    """Say what the constants were fitted to that is like a figure.

    Examples
    --------
    >>> known("tpu7x:vllm", moeplan.Options())
    'nothing of the machine'
    """
    _, sku, options = machine_of(machine, options)
    question = ask(sku, options)
    asked: dict[str, Any] = {
        "sku": question.sku,
        "model": question.scenario.model.name,
        "framework": options.engine,
    }
    asked |= {"precision": question.scenario.precision, "isl": options.isl, "osl": options.osl}
    rows = list(_fitted())
    counts = []
    for name, value in asked.items():
        rows = [row for row in rows if getattr(row, name) == value]
        counts.append(len(rows))
    same = sum(row.serving in question.modes for row in rows)
    if same:
        return f"{same} rows of this question"
    if counts[3]:
        return f"{counts[3]} rows of model, engine and precision"
    return f"{counts[0]} rows of the machine" if counts[0] else "nothing of the machine"


def _fitted() -> Iterator[ServingRow]:
    for rows in (serving_rows(), aggregated_rows(), corpus_rows()):
        yield from (row for row in rows if not row.suspect)


def predicted(headline: Headline) -> dict[Figure, moeplan.Best | str]:
    """Answer each figure's question; a text says why there is no answer."""
    result: dict[Figure, moeplan.Best | str] = {}
    for machine in dict.fromkeys(figure.machine for figure in headline.figures):
        own = [figure for figure in headline.figures if figure.machine == machine]
        try:
            found = moeplan.curves([machine], [each.target for each in own], headline.options)
        except InputError as error:
            result |= dict.fromkeys(own, f"refused: {error}")
            continue
        for figure, row in zip(own, found.curves[machine].rows, strict=True):
            result[figure] = row if row.prediction else f"unreachable: {row.reason}"
    return result


def section(headline: Headline, found: Mapping[Figure, moeplan.Best | str]) -> str:
    """Write a comparison: every figure beside its prediction, then the ratios."""
    lines = [
        f"## {prose(headline.title)}",
        prose(f"{headline.source}; {headline.date}."),
        *([prose(f"Assumed here: {headline.assumed}.")] if headline.assumed else []),
        table(*_figures(headline, found)),
        table(*_ratios(headline, found)),
    ]
    told = dict.fromkeys(each for each in found.values() if isinstance(each, str))
    return "\n\n".join([*lines, *(prose(f"{each}.") for each in told)])


def _figures(
    headline: Headline, found: Mapping[Figure, moeplan.Best | str]
) -> Iterator[tuple[str, ...]]:
    yield ("tok/s/user", "machine", "published tok/s/GPU", "predicted", "error", "90 % interval",
           "inside", "the fit knew")  # fmt: skip
    for figure in headline.figures:
        start = (f"{figure.target:g}", figure.machine, WHOLE.format(figure.tok_s_per_gpu))
        answer = found[figure]
        if isinstance(answer, str) or answer.prediction is None:
            yield (*start, *[DASH] * 5)
            continue
        value = answer.prediction.total_tok_s_per_gpu
        low, high = answer.prediction.interval_90["total_tok_s_per_gpu"]
        star = "*" if answer.prediction.origin == "extrapolated" else ""
        yield (
            *start,
            star + WHOLE.format(value),
            f"{100 * (value / figure.tok_s_per_gpu - 1):+.0f} %",
            f"{WHOLE.format(low)} to {WHOLE.format(high)}",
            "yes" if low <= figure.tok_s_per_gpu <= high else "no",
            known(figure.machine, headline.options),
        )


def _ratios(
    headline: Headline, found: Mapping[Figure, moeplan.Best | str]
) -> Iterator[tuple[str, ...]]:
    """Give the first machine over each other one at each target that both have."""
    yield ("tok/s/user", "ratio", "published", "predicted")
    by_target: dict[float, list[Figure]] = {}
    for figure in headline.figures:
        by_target.setdefault(figure.target, []).append(figure)
    for target, (first, *others) in by_target.items():
        for other in others:
            values = [_value(found[each]) for each in (first, other)]
            ratio = None if None in values else (values[0] or 0.0) / (values[1] or 1.0)
            yield (
                f"{target:g}",
                f"{first.machine} / {other.machine}",
                f"{first.tok_s_per_gpu / other.tok_s_per_gpu:.2f}x",
                DASH if ratio is None else f"{ratio:.2f}x",
            )


def _value(answer: moeplan.Best | str) -> float | None:
    if isinstance(answer, str) or answer.prediction is None:
        return None
    return answer.prediction.total_tok_s_per_gpu


def page(found: Sequence[tuple[Headline, Mapping[Figure, moeplan.Best | str]]]) -> str:
    """Write the scoreboard."""
    parts = [
        "# Scoreboard",
        INTRODUCTION.format(version=version()),
        *(section(headline, answers) for headline, answers in found),
        "## Left out",
        table(
            ("what", "why"),
            *((prose(each["title"]), prose(each["why"])) for each in _content()["left_out"]),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def main(path: Path) -> None:
    """Predict all, and write the page."""
    write_whole(path, NOTICE + page([(each, predicted(each)) for each in headlines()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
