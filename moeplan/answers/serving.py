"""One pool or two: the better of two answers, and by how much the other falls short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.results import Configuration, Prediction
from moeplan.answers.reasons import behind
from optimizer.objective import ObjectiveValue
from presets.pools import Serving
from presets.record import Record

if TYPE_CHECKING:
    from moeplan.answers.best import Best


class OtherServing(Record):
    """The best of the serving mode that lost, where either was asked for.

    Attributes
    ----------
    serving : {"aggregated", "disaggregated"}
    config, prediction : Configuration and Prediction, or None
        None where nothing of this mode meets the limits, as are the next two.
    objective : ObjectiveValue or None
        What the objective makes of it.
    lost_by : str or None
        By how much it falls short of the answer.
    reason : str or None
        Why there is none.
    """

    serving: Serving
    config: Configuration | None = None
    prediction: Prediction | None = None
    objective: ObjectiveValue | None = None
    lost_by: str | None = None
    reason: str | None = None


def better_of(first: Best, second: Best) -> Best:
    """Choose between the answers of two serving modes, the first where they are equal.

    Where nothing of either meets the limits, that of the higher target which works; the reason then
    says of which mode it is.
    """
    better, other = (second, first) if _wins(second, first) else (first, second)
    return _beside(better, _lost(better, other))


def refused(answer: Best, serving: Serving, reason: str) -> Best:
    """Say of an answer that the other serving mode cannot be asked for."""
    return _beside(answer, OtherServing(serving=serving, reason=reason))


def _beside(better: Best, lost: OtherServing) -> Best:
    """Keep the other mode beside an answer; a reason says of which mode it is."""
    assert better.problem is not None  # answers of a search have it
    reason = better.reason and f"in {better.problem.serving} serving {better.reason}"
    return better.model_copy(update={"other_serving": lost, "reason": reason})


def _wins(second: Best, first: Best) -> bool:
    if first.objective.amount is None or second.objective.amount is None:
        if first.config is not None:
            return False
        highest = [each.nearest_target_tok_s_per_user or 0.0 for each in (first, second)]
        return second.config is not None or highest[1] > highest[0]
    if first.objective.amount == second.objective.amount:
        return (second.objective.served or 0.0) > (first.objective.served or 0.0)
    more = second.objective.amount > first.objective.amount
    return more == first.objective.more_is_better


def _lost(better: Best, other: Best) -> OtherServing:
    assert other.problem is not None  # answers of a search have it
    serving = other.problem.serving
    if other.config is None or better.config is None:
        return OtherServing(serving=serving, reason=other.reason)
    return OtherServing(
        serving=serving,
        config=other.config,
        prediction=other.prediction,
        objective=other.objective,
        lost_by=behind(better.objective, other.objective),
    )
