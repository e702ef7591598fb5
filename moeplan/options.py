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
    max_gpus : int
        Most GPUs of a deployment. [GPU]
    max_ttft : float or None
        Longest mean time to first token. [s]
    price : float or None
        Price of a GPU; None takes that of the machine or the cluster. [USD/h]
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
    max_gpus: int = MAX_GPUS
    max_ttft: float | None = None
    price: float | None = None
    cluster: ClusterSpec | Path | str | None = None
    calibration: Path | str | None = None


DEFAULTS = Options()
"""The published scenario on at most 72 GPUs."""
