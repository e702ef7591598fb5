"""The search: what is tried, the exact choice among it, and why the others lost."""

from optimizer.infeasible import Infeasibility, explain_infeasibility, find_infeasibility
from optimizer.limits import Limits
from optimizer.search import Answer, RunnerUp, SearchInfo, best, curve
from optimizer.space import Rule, Shape, Space, allowed_shapes, broken_rule

__all__ = [
    "Answer",
    "Infeasibility",
    "Limits",
    "Rule",
    "RunnerUp",
    "SearchInfo",
    "Shape",
    "Space",
    "allowed_shapes",
    "best",
    "broken_rule",
    "curve",
    "explain_infeasibility",
    "find_infeasibility",
]
