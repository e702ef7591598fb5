"""Plans the serving of mixture-of-experts models: throughput per dollar.

>>> import moeplan
>>> moeplan.measured_frontier("gb200", 125.0).total_tok_s_per_gpu.__round__()
4130

Names are imported when they are first used, so that ``import moeplan`` costs nothing.
"""

# ruff: noqa: E402  (what stands first must be done before the next is imported)
from moeplan.started import is_command, take_interruptions

if is_command():
    take_interruptions()

from moeplan.own_packages import check_packages

check_packages()

from typing import TYPE_CHECKING

from presets.lazy import lazy_names

if TYPE_CHECKING:
    from costmodel.results import Configuration, Prediction, Scenario
    from moeplan.answers.availability import Availability
    from moeplan.answers.best import Best, Measured
    from moeplan.answers.comparison import Comparison
    from moeplan.answers.curve import Curve, Curves
    from moeplan.answers.explanation import Explanation, Robustness
    from moeplan.answers.fleet import FleetPlan
    from moeplan.answers.predicted import PredictedDeployment
    from moeplan.api import best, compare, curve, curves, measured_frontier, predict
    from moeplan.explainers import explain, robustness
    from moeplan.fleet_api import availability, fleet, replan
    from moeplan.options import Options
    from moeplan.own_rows import calibrate, validate
    from presets import (
        ClusterSpec,
        DataFileError,
        InfeasibleError,
        InputError,
        MoeplanError,
        UnknownNameError,
        load_cluster,
    )

_ROOM_OF = {
    "Availability": "moeplan.answers.availability",
    "Best": "moeplan.answers.best",
    "ClusterSpec": "presets",
    "Comparison": "moeplan.answers.comparison",
    "Configuration": "costmodel.results",
    "Curve": "moeplan.answers.curve",
    "Curves": "moeplan.answers.curve",
    "DataFileError": "presets",
    "Explanation": "moeplan.answers.explanation",
    "FleetPlan": "moeplan.answers.fleet",
    "InfeasibleError": "presets",
    "InputError": "presets",
    "Measured": "moeplan.answers.best",
    "MoeplanError": "presets",
    "Options": "moeplan.options",
    "PredictedDeployment": "moeplan.answers.predicted",
    "Prediction": "costmodel.results",
    "Robustness": "moeplan.answers.explanation",
    "Scenario": "costmodel.results",
    "UnknownNameError": "presets",
    "availability": "moeplan.fleet_api",
    "best": "moeplan.api",
    "calibrate": "moeplan.own_rows",
    "compare": "moeplan.api",
    "curve": "moeplan.api",
    "curves": "moeplan.api",
    "explain": "moeplan.explainers",
    "fleet": "moeplan.fleet_api",
    "load_cluster": "presets",
    "measured_frontier": "moeplan.api",
    "predict": "moeplan.api",
    "replan": "moeplan.fleet_api",
    "robustness": "moeplan.explainers",
    "validate": "moeplan.own_rows",
}

__all__ = [
    "Availability",
    "Best",
    "ClusterSpec",
    "Comparison",
    "Configuration",
    "Curve",
    "Curves",
    "DataFileError",
    "Explanation",
    "FleetPlan",
    "InfeasibleError",
    "InputError",
    "Measured",
    "MoeplanError",
    "Options",
    "PredictedDeployment",
    "Prediction",
    "Robustness",
    "Scenario",
    "UnknownNameError",
    "availability",
    "best",
    "calibrate",
    "compare",
    "curve",
    "curves",
    "explain",
    "fleet",
    "load_cluster",
    "measured_frontier",
    "predict",
    "replan",
    "robustness",
    "validate",
]


__getattr__, __dir__ = lazy_names(__name__, _ROOM_OF)
