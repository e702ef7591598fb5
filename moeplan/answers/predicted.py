"""The answer to one given configuration, as a frozen record."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from moeplan.answers.best import Asked, Deployment, ScenarioSummary, figures_in_words
from moeplan.answers.record import Answer
from moeplan.answers.rows import asked_columns, figures_of, outside, percentile_columns
from presets.frozen import Frozen, FrozenDict
from presets.record import Record


class KeptDrafts(Record):
    """How many tokens a step keeps of a request, and where that comes from.

    Attributes
    ----------
    tokens_per_step : float
        The one that is no draft included. [token]
    interval_90 : (float, float)
        [token]
    source : str
    """

    tokens_per_step: float
    interval_90: tuple[float, float]
    source: str


class PredictedDeployment(Deployment, Answer):
    """One given configuration as predicted, with what was asked and where it stands.

    `gpus` and `version` are those of `Best`; `acceptance` is None without drafts; `percentiles_ms`
    are those of `Best`.
    """

    sku: str
    scenario: ScenarioSummary
    question: Asked
    gpus: int
    acceptance: KeptDrafts | None = None
    percentiles_ms: Frozen[str, float] = Field(default_factory=FrozenDict)
    version: str | None = None
    title: Annotated[str, Field(exclude=True)] = ""
    price_usd_per_hour: Annotated[float, Field(exclude=True)] = 0.0

    def to_rows(self) -> list[dict[str, Any]]:
        """One row."""
        row = {"sku": self.sku} | figures_of(self.config, self.prediction)
        row |= percentile_columns(self.percentiles_ms, self.question)
        row |= {
            "extrapolated_in": outside(self.prediction),
            "gpus": self.gpus,
            "version": self.version,
        }
        return [row | asked_columns(self.question)]

    def _gist(self) -> str:
        return f"{self.sku}: {self.config.label}, {figures_in_words(self.prediction)}"
