"""The cost model: from a model, workers, their links and a batch to seconds, tokens and dollars.

Names are imported when they are first used: a prediction needs no fit. A package of moeplan.
"""

from typing import TYPE_CHECKING

from presets.lazy import lazy_names

if TYPE_CHECKING:
    from costmodel.calibration import Calibration, CalibrationFile, Constant
    from costmodel.calibration_file import (
        load_calibration,
        read_calibration,
        shipped_calibration,
        write_calibration,
    )
    from costmodel.economics import power_usd_per_hour, tokens_per_joule, usd_per_m_tokens
    from costmodel.fit import Fit
    from costmodel.frontier import MeasuredPoint, measured_at, why_unmeasured
    from costmodel.predictions import predict
    from costmodel.results import Configuration, Predicted, Prediction, Scenario
    from costmodel.stages import calibrate
    from costmodel.validation import Validation, cross_validate, validate

_MODULE_OF = {
    "Calibration": "costmodel.calibration",
    "CalibrationFile": "costmodel.calibration",
    "Configuration": "costmodel.results",
    "Constant": "costmodel.calibration",
    "Fit": "costmodel.fit",
    "MeasuredPoint": "costmodel.frontier",
    "Predicted": "costmodel.results",
    "Prediction": "costmodel.results",
    "Scenario": "costmodel.results",
    "Validation": "costmodel.validation",
    "calibrate": "costmodel.stages",
    "cross_validate": "costmodel.validation",
    "load_calibration": "costmodel.calibration_file",
    "measured_at": "costmodel.frontier",
    "power_usd_per_hour": "costmodel.economics",
    "predict": "costmodel.predictions",
    "read_calibration": "costmodel.calibration_file",
    "shipped_calibration": "costmodel.calibration_file",
    "tokens_per_joule": "costmodel.economics",
    "usd_per_m_tokens": "costmodel.economics",
    "validate": "costmodel.validation",
    "why_unmeasured": "costmodel.frontier",
    "write_calibration": "costmodel.calibration_file",
}

__all__ = [
    "Calibration",
    "CalibrationFile",
    "Configuration",
    "Constant",
    "Fit",
    "MeasuredPoint",
    "Predicted",
    "Prediction",
    "Scenario",
    "Validation",
    "calibrate",
    "cross_validate",
    "load_calibration",
    "measured_at",
    "power_usd_per_hour",
    "predict",
    "read_calibration",
    "shipped_calibration",
    "tokens_per_joule",
    "usd_per_m_tokens",
    "validate",
    "why_unmeasured",
    "write_calibration",
]

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
