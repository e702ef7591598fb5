"""The search: what is tried, the exact choice among it, and why the others lost.

A package of moeplan.
"""

from typing import TYPE_CHECKING

from optimizer.billing import Bill
from optimizer.goal import Goal
from optimizer.limits import Limits
from optimizer.search import Answer, RunnerUp, SearchInfo, best, curve
from optimizer.space import Rule, Shape, Space, allowed_shapes, broken_rule
from optimizer.value import Value
from presets.lazy import lazy_names

if TYPE_CHECKING:
    from optimizer.infeasible import (
        Conflict,
        Infeasibility,
        explain_infeasibility,
        find_infeasibility,
    )

__all__ = [
    "Answer",
    "Bill",
    "Conflict",
    "Goal",
    "Infeasibility",
    "Limits",
    "Rule",
    "RunnerUp",
    "SearchInfo",
    "Shape",
    "Space",
    "Value",
    "allowed_shapes",
    "best",
    "broken_rule",
    "curve",
    "explain_infeasibility",
    "find_infeasibility",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    dict.fromkeys(
        ("Conflict", "Infeasibility", "explain_infeasibility", "find_infeasibility"),
        "optimizer.infeasible",
    ),
)
