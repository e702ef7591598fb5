"""The safe choice beside an answer, as a frozen record."""

from __future__ import annotations

from typing import Any, Literal

from costmodel.results import Configuration, Prediction
from moeplan.answers.rows import figures_of
from optimizer.objective import ObjectiveValue
from presets.frozen import Frozen
from presets.record import Record


class SafeChoice(Record):
    """The best deployment inside the data whose chance to meet each limit is high enough.

    Attributes
    ----------
    confidence : float
        The least chance: 0.9, or what was asked for where that is more. [1]
    is_best : bool
        Whether it is the answer itself.
    config, prediction : Configuration and Prediction, or None
        None where there is no such deployment, as are the next four.
    objective : ObjectiveValue or None
        What the objective makes of it.
    chance_to_meet : dict or None
        As that of `Best`. [1]
    gpus : int or None
        [GPU]
    behind : str or None
        By how much it falls short of the answer.
    reason : str or None
        Why there is none.
    """

    confidence: float
    is_best: bool = False
    config: Configuration | None = None
    prediction: Prediction | None = None
    objective: ObjectiveValue | None = None
    chance_to_meet: Frozen[Literal["target", "max_ttft"], float] | None = None
    gpus: int | None = None
    behind: str | None = None
    reason: str | None = None


def safe_columns(choice: SafeChoice | None) -> dict[str, Any]:
    """Write a safe choice as flat columns; None where there is none."""
    chances = (choice.chance_to_meet if choice else None) or {}
    columns = {
        "is_best": choice.is_best if choice else None,
        **figures_of(getattr(choice, "config", None), getattr(choice, "prediction", None)),
        "chance_to_meet_target": chances.get("target"),
        "chance_to_meet_max_ttft": chances.get("max_ttft"),
        "gpus": getattr(choice, "gpus", None),
        "reason": getattr(choice, "reason", None),
    }
    return {f"safe_{name}": value for name, value in columns.items()}
