"""Machines side by side at the same targets: frozen records, and how answers become them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from costmodel.results import Configuration, Prediction
from moeplan.answers.best import Best, Measured
from moeplan.answers.record import Answer
from presets.frozen import Frozen
from presets.record import Record

Kind = Literal["measured", "modelled"]
KINDS: tuple[Kind, ...] = ("measured", "modelled")


class Modelled(Prediction):
    """A prediction with the configuration that it is of, and its chance to meet each limit [1]."""

    config: Configuration
    chance_to_meet: Frozen[Literal["target", "max_ttft"], float]


class Pair(Record):
    """One machine at one target as measured and as modelled; None where there is no value."""

    measured: Measured | None
    modelled: Modelled | None


class Ratio(Record):
    """The first machine over the second: how many times the throughput, and how many times cheaper.

    None where one of the two has no value.
    """

    measured_throughput: float | None
    measured_cost: float | None
    modelled_throughput: float | None
    modelled_cost: float | None


class ComparisonRow(Record):
    """Machines at one target.

    Attributes
    ----------
    pairs : dict
        By machine; in JSON each stands at the top of the row.
    answers : dict
        The whole answers behind them.
    """

    target_tok_s_per_user: float
    pairs: Frozen[str, Pair]
    ratio: Ratio
    answers: Annotated[Frozen[str, Best], Field(exclude=True)]

    @model_serializer(mode="wrap")
    def _machines_on_top(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        ratio: dict[str, Any] = content.pop("ratio")
        pairs: dict[str, Any] = content.pop("pairs")
        return content | pairs | {"ratio": ratio}

    def winner(self, kind: Kind) -> str | None:
        """Machine with the lowest cost; None where no machine has a value.

        A machine that cannot reach the target loses; one that was not measured is no loser.
        """
        if kind == "measured" and any(
            pair.measured is None and not self.answers[sku].above_measured
            for sku, pair in self.pairs.items()
        ):
            return None
        costs = {
            sku: value.usd_per_m_total_tokens
            for sku, pair in self.pairs.items()
            if (value := getattr(pair, kind)) is not None
        }
        return min(costs, key=lambda sku: costs[sku]) if costs else None


class Comparison(Answer):
    """Two or more machines at several targets."""

    rows: tuple[ComparisonRow, ...]
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
            line[f"ratio_{kind}_throughput"] = getattr(row.ratio, f"{kind}_throughput")
            line[f"ratio_{kind}_cost"] = getattr(row.ratio, f"{kind}_cost")
            line[f"winner_{kind}"] = row.winner(kind)
        for sku in self.skus:
            for limit in ("target", "max_ttft"):
                chances = row.answers[sku].chance_to_meet or {}
                line[f"{sku}_chance_to_meet_{limit}"] = chances.get(limit)
        return line

    def _gist(self) -> str:
        return f"{' and '.join(self.skus)} at {len(self.rows)} targets"


def comparison_row(target: float, answers: dict[str, Best]) -> ComparisonRow:
    """Put the answers of several machines at one target side by side."""
    pairs = {
        sku: Pair(measured=answer.measured, modelled=_modelled(answer))
        for sku, answer in answers.items()
    }
    first, second = list(pairs.values())[:2]
    return ComparisonRow(
        target_tok_s_per_user=target,
        pairs=pairs,
        ratio=Ratio(
            measured_throughput=_over(first.measured, second.measured, "total_tok_s_per_gpu"),
            measured_cost=_over(second.measured, first.measured, "usd_per_m_total_tokens"),
            modelled_throughput=_over(first.modelled, second.modelled, "total_tok_s_per_gpu"),
            modelled_cost=_over(second.modelled, first.modelled, "usd_per_m_total_tokens"),
        ),
        answers=answers,
    )


def _modelled(answer: Best) -> Modelled | None:
    if answer.prediction is None or answer.config is None or answer.chance_to_meet is None:
        return None
    return Modelled(
        **answer.prediction.model_dump(),
        config=answer.config,
        chance_to_meet=answer.chance_to_meet,
    )


def _over(
    top: Measured | Modelled | None, bottom: Measured | Modelled | None, field: str
) -> float | None:
    if top is None or bottom is None:
        return None
    return float(getattr(top, field) / getattr(bottom, field))
