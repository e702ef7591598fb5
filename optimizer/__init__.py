"""The search: what is tried, the exact choice among it, and what would change it.

A package of moeplan.
"""

from typing import TYPE_CHECKING

from optimizer.answer import Answer, Conflict, Infeasibility, Ranked, Search
from optimizer.billing import Bill
from optimizer.objective import Objective, ObjectiveValue
from optimizer.problem import Limits, Problem
from optimizer.search import best, curve
from optimizer.space import Rule, Shape, Space, allowed_shapes, broken_rule
from presets.lazy import lazy_names

if TYPE_CHECKING:
    from optimizer.infeasible import find_infeasibility

__all__ = [
    "Answer",
    "Bill",
    "Conflict",
    "Infeasibility",
    "Limits",
    "Objective",
    "ObjectiveValue",
    "Problem",
    "Ranked",
    "Rule",
    "Search",
    "Shape",
    "Space",
    "allowed_shapes",
    "best",
    "broken_rule",
    "curve",
    "find_infeasibility",
]

__getattr__, __dir__ = lazy_names(__name__, {"find_infeasibility": "optimizer.infeasible"})
