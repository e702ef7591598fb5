"""Curves: the best deployment at each of several targets, of one machine or of several."""

from __future__ import annotations

from typing import Any

from moeplan.answers.best import Asked, Best, ScenarioSummary
from moeplan.answers.record import Answer
from presets.frozen import Frozen

KILOWATT = 1e3
"""[W]"""


class Curve(Answer):
    """The best deployment for each of several targets on one machine.

    `question` is that of every row, but for the target; `version` is that of `Best`.
    """

    sku: str
    scenario: ScenarioSummary
    rows: tuple[Best, ...]
    question: Asked
    version: str | None = None

    def to_rows(self) -> list[dict[str, Any]]:
        """One row per target; throughput per dollar and kilowatt stand beside that per GPU."""
        return [line | _per_dollar_and_kilowatt(row) for row in self.rows for line in row.to_rows()]

    def _gist(self) -> str:
        met = sum(row.config is not None for row in self.rows)
        return f"{self.sku}: {len(self.rows)} targets, {met} of them within reach"


class Curves(Answer):
    """Curves of several machines at the same targets.

    Attributes
    ----------
    curves : dict of Curve
        By label of the machine, such as "gb200:vllm".
    refused : dict
        Why a machine could not be asked, by label.
    version : str
        Of the package that answered.
    """

    curves: Frozen[str, Curve]
    refused: Frozen[str, str]
    version: str

    def to_rows(self) -> list[dict[str, Any]]:
        """One row per machine and target."""
        return [
            {"label": label} | line
            for label, curve in self.curves.items()
            for line in curve.to_rows()
        ]

    def _gist(self) -> str:
        return "; ".join(curve._gist() for curve in self.curves.values())


def curve_of(rows: list[Best]) -> Curve:
    """Put the answers of one machine together."""
    first = rows[0]
    return Curve(
        sku=first.sku,
        scenario=first.scenario,
        rows=tuple(rows),
        question=first.question,
        version=first.version,
    )


def watts_per_gpu(answer: Best) -> float | None:
    """Power of a GPU of a deployment, the mean where prefill has another machine [W]."""
    if answer.config is None:
        return None
    here, there = answer.question.cluster, answer.question.prefill_cluster
    watts = here.hardware().power_watts.value
    if there is None:
        return watts
    of_prefill = answer.config.prefill_gpus * there.hardware().power_watts.value
    return (of_prefill + answer.config.decode_gpus * watts) / answer.config.gpus


def _per_dollar_and_kilowatt(answer: Best) -> dict[str, float | None]:
    found, watts = answer.prediction, watts_per_gpu(answer)
    if found is None or watts is None:
        return dict.fromkeys(("total_tokens_per_usd", "total_tok_s_per_kw"))
    return {
        "total_tokens_per_usd": 1e6 / found.usd_per_m_total_tokens,
        "total_tok_s_per_kw": KILOWATT * found.total_tok_s_per_gpu / watts,
    }
