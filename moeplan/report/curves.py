"""What a page draws of one machine: figures over the grid, deployments behind them, measured rows.

Costs are at the price asked for. The price of a GPU-hour multiplies the costs of all deployments of
a machine alike, so one per target is the best at any price, and the page scales its cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from costmodel.results import Configuration, Prediction
from moeplan.answers.best import Best
from moeplan.answers.safe import SafeChoice
from moeplan.render.common import configuration_label, configuration_rows, count, served, titled
from moeplan.render.placement import placement_rows
from moeplan.report.measured import gaps_of, line_of, points_of

FIXED = ("launch", "host")
"""Parts of a step that take their time whatever the work."""

WAITING = "wait"
LINKS = ("dispatch", "combine", "all_reduce")
"""Parts of a step that are links; together they are its exposed communication."""


def machine_content(sku: str, answers: Sequence[Best]) -> dict[str, Any]:
    """Write the answers of a machine over the grid.

    Parameters
    ----------
    sku : str
        Machine.
    answers : sequence of Best
        By target, rising.
    """
    first = answers[0]
    question = first.question
    deployments: dict[Configuration, int] = {}
    told: list[dict[str, Any]] = []

    def place_of(answer: Best) -> int:
        assert answer.config is not None  # only asked of answers that have one
        if answer.config not in deployments:
            deployments[answer.config] = len(told)
            told.append(_deployment(answer))
        return deployments[answer.config]

    return {
        "sku": sku,
        "title": titled(sku, first),
        "served": served(first.scenario),
        "price": first.price_usd_per_hour,
        "price_set": question.price_set,
        "watts": question.cluster.hardware().power_watts.value,
        "modelled": [
            None
            if answer.prediction is None
            else _figures(answer.prediction)
            | {
                "origin": answer.prediction.origin,
                "outside": list(answer.prediction.extrapolated_in),
                "chance": (answer.chance_to_meet or {}).get("target"),
                "deployment": place_of(answer),
            }
            for answer in answers
        ],
        "safe": [_safe(answer.safe_choice) for answer in answers],
        "measured": [
            None
            if answer.measured is None
            else {
                "throughput": answer.measured.total_tok_s_per_gpu,
                "cost": answer.measured.usd_per_m_total_tokens,
                "origin": answer.measured.origin,
            }
            for answer in answers
        ],
        "beyond": [answer.above_measured for answer in answers],
        "not_measured": [answer.not_measured for answer in answers],
        "reasons": [answer.reason for answer in answers],
        "deployments": told,
        "line": line_of(question, [answer.target_tok_s_per_user for answer in answers]),
        "points": points_of(question),
        "gaps": gaps_of(question),
    }


def _figures(prediction: Prediction) -> dict[str, Any]:
    interval = prediction.interval_90
    return {
        "speed": prediction.tok_s_per_user,
        "speed_90": list(interval["tok_s_per_user"]),
        "ttft_ms": prediction.ttft_ms,
        "throughput": prediction.total_tok_s_per_gpu,
        "throughput_90": list(interval["total_tok_s_per_gpu"]),
        "cost": prediction.usd_per_m_total_tokens,
        "cost_90": list(interval["usd_per_m_total_tokens"]),
    }


def _safe(choice: SafeChoice | None) -> dict[str, Any] | None:
    if choice is None or choice.prediction is None or choice.config is None:
        return None
    return {
        "throughput": choice.prediction.total_tok_s_per_gpu,
        "cost": choice.prediction.usd_per_m_total_tokens,
        "label": configuration_label(choice.config),
    }


def _deployment(answer: Best) -> dict[str, Any]:
    """Spell a deployment out, with what a decode step of it spends its time on."""
    assert answer.config is not None  # as above
    rows = [
        *configuration_rows(answer.config),
        ("GPUs", count(answer.config.gpus, "GPU")),
        *placement_rows(answer.placement),
    ]
    return {
        "label": configuration_label(answer.config),
        "gpus": answer.config.gpus,
        "rows": [list(row) for row in rows],
        "step_ms": step_parts(answer.breakdown_ms or {}),
    }


def step_parts(breakdown_ms: Mapping[str, float]) -> dict[str, float]:
    """Sum the parts of a decode step into the four that a bar shows [ms].

    Examples
    --------
    >>> step_parts({"experts": 3.0, "dispatch": 1.0, "wait": 0.5, "host": 0.25, "head": 1.0,
    ...             "exposed_communication": 1.0})
    {'compute': 4.0, 'launches': 0.25, 'communication': 1.0, 'waiting': 0.5}
    """
    other = (*FIXED, *LINKS, WAITING, "exposed_communication")
    return {
        "compute": sum(ms for name, ms in breakdown_ms.items() if name not in other),
        "launches": sum(breakdown_ms.get(name, 0.0) for name in FIXED),
        "communication": breakdown_ms.get("exposed_communication", 0.0),
        "waiting": breakdown_ms.get(WAITING, 0.0),
    }
