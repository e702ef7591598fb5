"""Answers in a notebook: what the command prints, as HTML."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from moeplan.answers.best import Best
from moeplan.answers.comparison import Comparison
from moeplan.answers.curve import Curve, Curves
from moeplan.answers.predicted import PredictedDeployment
from moeplan.answers.record import Answer
from moeplan.output import PLAIN_WIDTH
from moeplan.render import best, compare, curve, predict
from moeplan.render.common import heading, paragraph

if TYPE_CHECKING:
    from rich.console import RenderableType  # --json draws nothing

PAGE = (
    '<pre style="white-space: pre; overflow-x: auto; line-height: 1.25; '
    "font-family: Menlo, 'DejaVu Sans Mono', monospace\">{code}</pre>"
)


def html_of(answer: Answer) -> str:
    """Write an answer as it is printed; user text is escaped."""
    from rich.console import Console  # --json draws nothing

    screen = Console(
        file=io.StringIO(),
        width=PLAIN_WIDTH,
        record=True,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for part in _report(answer):
        screen.print(part)
    return screen.export_html(inline_styles=True, code_format=PAGE)


def _report(answer: Answer) -> list[RenderableType]:
    if isinstance(answer, Best):
        if answer.deployment is not None:
            return best.report(answer)
        asked = f"{answer.title} at {answer.target_tok_s_per_user:g} tok/s/user"
        return [heading(asked), paragraph(f"Infeasible: {answer.reason}.")]
    if isinstance(answer, Curve):
        return curve.report(answer)
    if isinstance(answer, Curves):
        return curve.report_several(answer)
    if isinstance(answer, Comparison):
        return compare.report(answer)
    assert isinstance(answer, PredictedDeployment)
    return predict.report(answer)
