"""Which constants deviate on the corpus, by what traits of rows, and how far before any is seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from costmodel.calibration import CalibrationFile, Constant
from costmodel.calibration_file import CORPUS, corpus_deviation
from costmodel.deviations import Traits

SHARED = {
    "engine": ("trtllm",),
    "kernel_profile": ("hopper", "blackwell"),
    "format": ("fp4", "fp8", "bf16"),  # that of draft layers among them
    "attention": ("mla",),
}
"""Traits of the rows that set the shared constants: what has no other needs no deviation."""


SOURCE = "fit by tools.corpus"


class Kind(NamedTuple):
    """Deviations of one constant, one for each combination of some traits that rows have."""

    constant: str
    axes: tuple[str, ...]
    spread: float  # of the logarithm, before any row is seen


KINDS = (
    Kind("layer_time", ("attention", "kernel_profile"), 0.3),
    Kind("layer_time", ("engine",), 0.18),
    Kind("layer_time", ("engine", "kernel_profile"), 0.09),
    Kind("step_time", ("engine",), 0.24),
    Kind("request_time", ("engine",), 0.3),
    Kind("hbm_efficiency", ("kernel_profile",), 0.06),
    Kind("cache_efficiency", ("kernel_profile",), 0.12),
    Kind("cache_efficiency", ("attention",), 0.18),
    Kind("expert_efficiency", ("format", "kernel_profile"), 0.24),
    Kind("expert_efficiency", ("engine",), 0.18),
    Kind("expert_efficiency", ("engine", "format"), 0.12),
    Kind("engine_factor", ("engine", "attention"), 0.09),
    Kind("engine_factor", ("attention", "kernel_profile"), 0.09),
    Kind("dense_efficiency", ("attention", "kernel_profile"), 0.18),
    Kind("dense_efficiency", ("engine",), 0.12),
    Kind("attention_efficiency", ("kernel_profile",), 0.18),
    Kind("attention_efficiency", ("attention",), 0.18),
    Kind("all_reduce_factor", ("kernel_profile",), 0.18),
    Kind("all_reduce_factor", ("engine",), 0.18),
    Kind("all_reduce_launch", ("kernel_profile",), 0.18),
    Kind("all_reduce_launch", ("engine",), 0.18),
    Kind("exchange_factor", ("kernel_profile",), 0.24),
    Kind("exchange_factor", ("engine",), 0.24),
    Kind("exchange_factor", ("engine", "kernel_profile"), 0.18),
    Kind("sync_share", ("kernel_profile",), 0.24),
    Kind("sync_share", ("engine",), 0.06),
    Kind("draft_factor", ("engine",), 0.12),
    Kind("draft_pass_time", ("engine",), 0.6),
    Kind("draft_pass_time", ("engine", "kernel_profile"), 0.3),
    Kind("draft_request_time", ("engine",), 0.6),
    Kind("mixed_prefill", ("engine",), 0.18),
    Kind("mixed_fixed_share", ("engine",), 0.3),
    Kind("mixed_expert_ranks", ("engine", "kernel_profile"), 0.03),
    Kind("mixed_rank_stall", ("engine",), 0.6),
    Kind("prefill_efficiency", ("attention", "kernel_profile"), 0.24),
    Kind("prefill_efficiency", ("engine",), 0.18),
)
"""Of what decode steps take, and what prefill adds to them."""


WAITS = (
    Kind("first_token_time", ("engine",), 1.0),
    Kind("prefill_wait", ("engine",), 0.8),
    Kind("mixed_rank_steps", ("engine",), 1.0),
    Kind("mixed_steps", ("engine",), 0.8),
    Kind("mixed_first_token_time", ("engine",), 1.0),
)
"""Of what TTFT has beside prefill."""


PREFILL = ("prefill_efficiency", "mixed_prefill")
"""Constants of the rate of prefill: what bounds how many requests are in decode."""


def deviations_in(traits: Sequence[Traits], kinds: Sequence[Kind] = KINDS) -> dict[str, Constant]:
    """Name the deviations that rows of some traits can tell of, each as where no row was seen."""
    found = {}
    for kind in kinds:
        for values in sorted({tuple(getattr(each, axis) for axis in kind.axes) for each in traits}):
            where = dict(zip(kind.axes, values, strict=True))
            if all(value in SHARED[axis] for axis, value in where.items()):
                continue
            pairs = ",".join(f"{axis}={value}" for axis, value in where.items())
            name = f"{kind.constant}[{pairs}]"
            found[name] = corpus_deviation(name, None, kind.spread, None, SOURCE, date.today())
    return found


def shared_constants(file: CalibrationFile) -> CalibrationFile:
    """Leave out what is fitted to the corpus."""
    kept = {name: one for name, one in file.constants.items() if one.informed_by != CORPUS}
    return file._replace(constants=kept)
