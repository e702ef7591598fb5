"""Machines side by side at the same targets: frozen records, and how answers become them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from costmodel.results import Configuration, Prediction
from moeplan.answers.apart import Apart, apart_90
from moeplan.answers.assumed import Assumed, Otherwise, most_telling, otherwise
from moeplan.answers.best import Asked, Best, Measured
from moeplan.answers.break_even import BreakEven, break_even
from moeplan.answers.measured import hole_of
from moeplan.answers.rate_served import Fleet, fleet_of
from moeplan.answers.record import Answer
from moeplan.answers.rows import asked_columns, figures_of, outside
from moeplan.answers.safe import SafeChoice, safe_columns
from presets.frozen import Frozen
from presets.record import Record

ASSUMED = tuple(name for name, field in Assumed.model_fields.items() if not field.exclude)

Kind = Literal["measured", "modelled"]
KINDS: tuple[Kind, ...] = ("measured", "modelled")

TOO_CLOSE = "too close to call"
"""Stands for a winner where another machine costs the same within what is known."""


MEASURED_NOISE = 0.02
"""Relative difference of two measured costs that says nothing: repeats of one configuration among
the shipped rows differ by less in 14 of 19 cases, by 14 % at most. [1]"""


class Modelled(Prediction):
    """A prediction with its configuration, its chance to meet each limit [1], and the safe choice.

    Attributes are those of `Best`.
    """

    config: Configuration
    chance_to_meet: Frozen[Literal["target", "max_ttft"], float]
    safe_choice: SafeChoice | None


class Pair(Record):
    """One machine at one target as measured and as modelled; None where there is no value.

    `gpus` are of the deployment as modelled [GPU]; `fleet` is what serves a rate, where one is
    asked for; `notes` say what a reader has to know of both.
    """

    measured: Measured | None
    modelled: Modelled | None
    gpus: int | None = None
    fleet: Fleet | None = None
    notes: tuple[str, ...] = ()


class Ratio(Record):
    """The first machine over another: how many times the throughput, and how many times cheaper.

    None where one of the two has no value. Intervals of 90 % leave out the errors that both share.
    `assumed` is the assumed fact that moves the modelled throughput most; None where none moves it.
    """

    measured_throughput: float | None
    measured_cost: float | None
    modelled_throughput: float | None
    modelled_cost: float | None
    modelled_throughput_90: tuple[float, float] | None = None
    modelled_cost_90: tuple[float, float] | None = None
    assumed: Assumed | None = None

    def columns(self) -> dict[str, Any]:
        """Content without nesting."""
        content = self.to_json()
        assumed = content.pop("assumed") or {}
        for name in ("modelled_throughput", "modelled_cost"):
            low, high = content.pop(f"{name}_90") or (None, None)
            content |= {f"{name}_low": low, f"{name}_high": high}
        return content | {f"assumed_{name}": assumed.get(name) for name in ASSUMED}


class ComparisonRow(Record):
    """Machines at one target.

    Attributes
    ----------
    pairs : dict
        By machine; in JSON each stands at the top of the row.
    ratio : Ratio
        Of the first machine to the second.
    ratios : dict
        Of the first machine to each other, by the other.
    answers : dict
        The whole answers behind them.
    apart : dict
        How sure the modelled ratio of each two machines is, as `apart_90` says. [1]
    """

    target_tok_s_per_user: float
    pairs: Frozen[str, Pair]
    ratio: Ratio
    ratios: Frozen[str, Ratio]
    answers: Annotated[Frozen[str, Best], Field(exclude=True)]
    apart: Annotated[Frozen[tuple[str, str], float], Field(exclude=True)]

    @model_serializer(mode="wrap")
    def _machines_on_top(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        ratio: dict[str, Any] = content.pop("ratio")
        pairs: dict[str, Any] = content.pop("pairs")
        ratios: dict[str, Any] = content.pop("ratios")
        winner = {kind: self.winner(kind) for kind in KINDS}
        ties = {
            kind: {sku: tie and tie.to_json() for sku, tie in self.break_even(kind).items()}
            for kind in KINDS
        }
        added = {"ratio": ratio, "ratios": ratios, "winner": winner, "break_even": ties}
        return content | pairs | added

    def break_even(self, kind: Kind) -> dict[str, BreakEven | None]:
        """Price of each machine at which it ties with the cheapest of the others, at theirs.

        None of one whose prefill stands on another machine: two prices make its cost.
        """
        costs = {sku: getattr(pair, kind) for sku, pair in self.pairs.items()}
        prices = {sku: answer.price_usd_per_hour for sku, answer in self.answers.items()}
        ties = break_even(costs, prices, self._apart(kind))
        return {sku: None if self.answers[sku].prefill_sku else tie for sku, tie in ties.items()}

    def winner(self, kind: Kind) -> str | None:
        """Machine with the lowest cost among those with a value; `TOO_CLOSE` where none stands out.

        As modelled, two costs are too close where the 90 % interval of their ratio holds 1, errors
        that both share left out; as measured, where they differ by less than `MEASURED_NOISE`.
        A machine that cannot reach the target loses; one that was not measured does not count.
        None where no machine has a value, or fewer than two count.
        """
        values = {
            sku: value
            for sku, pair in self.pairs.items()
            if (value := getattr(pair, kind)) is not None
        }
        known = [
            sku
            for sku in self.pairs
            if sku in values or kind == "modelled" or self.answers[sku].above_measured
        ]
        if not values or len(known) < 2:
            return None
        first, *others = sorted(values, key=lambda sku: values[sku].usd_per_m_total_tokens)
        apart = self._apart(kind)
        for other in others:
            ratio = values[other].usd_per_m_total_tokens / values[first].usd_per_m_total_tokens
            if math.log(ratio) <= apart.get((first, other), math.log1p(MEASURED_NOISE)):
                return TOO_CLOSE
        return first

    def _apart(self, kind: Kind) -> Apart:
        return self.apart if kind == "modelled" else {}


class Comparison(Answer):
    """Two or more machines at several targets.

    Attributes
    ----------
    rows : tuple of ComparisonRow
        By target.
    questions : dict
        What was asked of each machine.
    refused : dict
        Why a machine could not be asked, by machine; the others are compared all the same.
    version : str
        Of the package that answered.
    skus : tuple of str
        Machines that are compared, in order.
    """

    rows: tuple[ComparisonRow, ...]
    questions: Frozen[str, Asked]
    refused: Frozen[str, str]
    version: str
    skus: Annotated[tuple[str, ...], Field(exclude=True)]

    def to_rows(self) -> list[dict[str, Any]]:
        """One row per target."""
        return [self._row(row) for row in self.rows]

    def _row(self, row: ComparisonRow) -> dict[str, Any]:
        line: dict[str, Any] = {"target_tok_s_per_user": row.target_tok_s_per_user}
        for kind in KINDS:
            for name in ("total_tok_s_per_gpu", "usd_per_m_total_tokens"):
                for sku in self.skus:
                    value = getattr(row.pairs[sku], kind)
                    line[f"{sku}_{kind}_{name}"] = getattr(value, name, None)
            line[f"winner_{kind}"] = row.winner(kind)
            for sku, tie in row.break_even(kind).items():
                line[f"{sku}_break_even_{kind}_usd_per_hour"] = getattr(tie, "usd_per_hour", None)
        line |= {f"ratio_{key}": value for key, value in row.ratio.columns().items()}
        for sku in self.skus:
            for limit in ("target", "max_ttft"):
                chances = row.answers[sku].chance_to_meet or {}
                line[f"{sku}_chance_to_meet_{limit}"] = chances.get(limit)
        for sku, ratio in row.ratios.items():
            line |= {f"{self.skus[0]}_over_{sku}_{k}": v for k, v in ratio.columns().items()}
        for sku in self.skus:
            line |= {f"{sku}_{key}": v for key, v in self._machine(row.pairs[sku], sku).items()}
        refused = "; ".join(f"{sku}: {reason}" for sku, reason in self.refused.items())
        return line | {"refused": refused or None, "version": self.version}

    def _machine(self, pair: Pair, sku: str) -> dict[str, Any]:
        """Write what stands beside the figures of a machine, and what was asked of it."""
        modelled = pair.modelled
        columns = {
            f"modelled_{key}": value
            for key, value in figures_of(modelled.config if modelled else None, modelled).items()
        }
        columns |= {
            "modelled_extrapolated_in": outside(modelled),
            "modelled_gpus": pair.gpus,
            **{f"fleet_{name}": getattr(pair.fleet, name, None) for name in Fleet.model_fields},
            "measured_origin": getattr(pair.measured, "origin", None),
            "notes": "; ".join(pair.notes) or None,
            **safe_columns(modelled.safe_choice if modelled else None),
        }
        return columns | asked_columns(self.questions[sku])

    def _gist(self) -> str:
        refused = f", {' and '.join(self.refused)} refused" if self.refused else ""
        return f"{' and '.join(self.skus)} at {len(self.rows)} targets{refused}"


def comparison_row(
    target: float,
    answers: Mapping[str, Best],
    apart: Apart,
    supposed: Mapping[str, Sequence[Otherwise]] = MappingProxyType({}),
) -> ComparisonRow:
    """Put the answers of one or more machines at one target side by side.

    Parameters
    ----------
    target : float
        Interactivity. [token/s/user]
    answers : mapping
        By machine.
    apart : mapping
        Theirs, as `apart_90` says.
    supposed : mapping
        What machines give were an assumed fact otherwise.
    """
    pairs = {sku: _pair(answer) for sku, answer in answers.items()}
    first, *others = pairs
    ratios = {
        sku: _ratio(
            pairs[first],
            pairs[sku],
            apart.get((first, sku)),
            supposed.get(first, ()),
            supposed.get(sku, ()),
        )
        for sku in others
    }
    none = Pair(measured=None, modelled=None)
    return ComparisonRow(
        target_tok_s_per_user=target,
        pairs=pairs,
        ratio=ratios[others[0]] if others else _ratio(pairs[first], none),
        ratios=ratios,
        answers=answers,
        apart=dict(apart),
    )


def comparison_of(
    targets: Sequence[float],
    curves: Mapping[str, Sequence[Best]],
    refused: Mapping[str, str],
    version: str,
) -> Comparison:
    """Put the curves of machines side by side, beside why others have none.

    Raises
    ------
    InputError
        As the search does, which is repeated with assumed facts as other sources have them.
    """
    supposed = {sku: otherwise(curve) for sku, curve in curves.items() if len(curves) > 1}
    beside = side_by_side(curves)
    rows = [
        comparison_row(
            target, answers, apart, {sku: found.get(target, ()) for sku, found in supposed.items()}
        )
        for target, answers, apart in zip(targets, beside, apart_90(beside), strict=True)
    ]
    return Comparison(
        rows=tuple(rows),
        questions={sku: curve[0].question for sku, curve in curves.items()},
        refused=refused,
        version=version,
        skus=tuple(curves),
    )


def side_by_side(curves: Mapping[str, Sequence[Best]]) -> list[dict[str, Best]]:
    """Turn curves of machines into the answers of all machines, by target."""
    return [dict(zip(curves, row, strict=True)) for row in zip(*curves.values(), strict=True)]


def _pair(answer: Best) -> Pair:
    hole = hole_of(answer.measured)
    notes = (
        answer.reason,
        answer.not_measured,
        hole and f"measured around a hole: no row is published for {hole}",
    )
    return Pair(
        measured=answer.measured,
        modelled=_modelled(answer),
        gpus=answer.gpus,
        fleet=fleet_of(answer),
        notes=tuple(note for note in notes if note),
    )


def _ratio(
    first: Pair,
    second: Pair,
    apart: float | None = None,
    of_first: Sequence[Otherwise] = (),
    of_second: Sequence[Otherwise] = (),
) -> Ratio:
    throughput = _over(first.modelled, second.modelled, "total_tok_s_per_gpu")
    cost = _over(second.modelled, first.modelled, "usd_per_m_total_tokens")
    return Ratio(
        measured_throughput=_over(first.measured, second.measured, "total_tok_s_per_gpu"),
        measured_cost=_over(second.measured, first.measured, "usd_per_m_total_tokens"),
        modelled_throughput=throughput,
        modelled_cost=cost,
        modelled_throughput_90=_within(throughput, apart),
        modelled_cost_90=_within(cost, apart),
        assumed=most_telling(first.modelled, second.modelled, of_first, of_second),
    )


def _within(ratio: float | None, apart: float | None) -> tuple[float, float] | None:
    if ratio is None or apart is None:
        return None
    return ratio * math.exp(-apart), ratio * math.exp(apart)


def _modelled(answer: Best) -> Modelled | None:
    if answer.prediction is None or answer.config is None or answer.chance_to_meet is None:
        return None
    return Modelled(
        **answer.prediction.model_dump(),
        config=answer.config,
        chance_to_meet=answer.chance_to_meet,
        safe_choice=answer.safe_choice,
    )


def _over(
    top: Measured | Modelled | None, bottom: Measured | Modelled | None, field: str
) -> float | None:
    if top is None or bottom is None:
        return None
    return float(getattr(top, field) / getattr(bottom, field))
