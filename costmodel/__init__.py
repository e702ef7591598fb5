"""The cost model: from a model, workers, their links and a batch to seconds, tokens and dollars."""

from costmodel.calibration import (
    Calibration,
    CalibrationFile,
    Constant,
    load_calibration,
    read_calibration,
    shipped_calibration,
)
from costmodel.calibration_file import write_calibration
from costmodel.economics import power_usd_per_hour, tokens_per_joule, usd_per_m_tokens
from costmodel.fit import Fit
from costmodel.frontier import MeasuredPoint, measured_at, why_unmeasured
from costmodel.predictions import predict
from costmodel.results import Configuration, Predicted, Prediction, Scenario
from costmodel.stages import calibrate
from costmodel.validation import Validation, cross_validate, validate

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
