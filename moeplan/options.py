"""What a question may say besides machine and target; the defaults are the published case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from presets import ClusterSpec

MODEL = "deepseek-r1-0528"
LENGTH = 1024
ENGINE = "trtllm"
ENGINES = ("sglang", "trtllm", "vllm")
MAX_GPUS = 72
OBJECTIVES = ("cost", "throughput", "output-cost", "power", "gpus")
BILLINGS = ("gpu", "domain")


@dataclass(frozen=True)
class Options:
    """Model, workload, limits, price and files of a question.

    ``Options()`` is the published scenario on at most 72 GPUs; ``Options(max_ttft=2.0)`` limits the
    time to first token besides.

    Attributes
    ----------
    model : str
        Preset, or path of a Hugging Face config.json.
    precision : str or None
        "fp4", "fp8" or "bf16"; None takes the first that machine and model offer.
    isl, osl : int
        Nominal lengths of input and output. [token]
    engine : str
        One of `ENGINES`.
    frontends : int
        That route requests, each for itself. [1]
    max_gpus : int
        Most GPUs of a deployment. [GPU]
    max_ttft : float or None
        Longest mean time to first token. [s]
    objective : str
        What is made best: "cost", "throughput", "output-cost", "power" or "gpus".
    billing : str
        Whether "gpu"s that serve are paid, or whole NVLink "domain"s.
    rate : float or None
        Requests that replicas serve together, for the objective "gpus". [1/s]
    concurrency : int or None
        Users served at once; None takes as many as fill the slots. [1]
    min_confidence : float or None
        Probability with which the target must be met; None asks it of the median. [1]
    within_data : bool
        Whether only deployments inside the data of the calibration are looked at.
    prefill_sku : str or None
        Machine of the prefill workers; None takes that of decode.
    price, prefill_price : float or None
        Price of a GPU, and of one of prefill where that has its own machine; None takes that of the
        machine or the cluster. [USD/h]
    cluster : ClusterSpec, Path, str or None
        The cluster, or a file that describes it; None takes the machine as its preset has it.
    calibration : Path, str or None
        Calibration file; None takes the shipped one.
    """

    model: str = MODEL
    precision: str | None = None
    isl: int = LENGTH
    osl: int = LENGTH
    engine: str = ENGINE
    frontends: int = 1
    max_gpus: int = MAX_GPUS
    max_ttft: float | None = None
    objective: str = OBJECTIVES[0]
    billing: str = BILLINGS[0]
    rate: float | None = None
    concurrency: int | None = None
    min_confidence: float | None = None
    within_data: bool = False
    prefill_sku: str | None = None
    price: float | None = None
    prefill_price: float | None = None
    cluster: ClusterSpec | Path | str | None = None
    calibration: Path | str | None = None


DEFAULTS = Options()
"""The published scenario on at most 72 GPUs."""
