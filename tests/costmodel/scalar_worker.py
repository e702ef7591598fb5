"""The worker of the scalar step, and the rates that its parts share."""

from collections.abc import Mapping
from dataclasses import dataclass

from presets import (
    Hardware,
    Model,
    Precision,
)
from presets.model import DraftModel
from topology import GroupPath

Constants = Mapping[str, float]


@dataclass(frozen=True)
class Worker:
    """One decode worker, what it serves and on what."""

    model: Model
    precision: Precision
    hardware: Hardware
    path: GroupPath
    gpus: int
    ep: int
    dp: bool
    drafts: int
    eplb_slots: int
    trtllm_kernels: bool
    isl: int
    osl: int
    draft: DraftModel | None
    kernels: tuple[str, ...]  # that may carry tokens across domains
    fp8_dispatch: bool
    fp4_combine: bool
    two_batches: bool


@dataclass(frozen=True)
class Format:
    """The bits and rates that a layer of the model, or a draft layer, has."""

    expert: float  # bits of a weight
    shared: float
    router: float
    attention: float
    attention_output: float
    rate: float  # FLOP/s of expert GEMMs
    arithmetic: float  # bits that experts multiply; 16 is BF16
    wire_input: float  # bits of the input of experts
    wire_combine: float  # bits that decide in what a result travels back


def launch(worker: Worker, form: Format, at: Constants) -> float:
    time = of_machine("layer_time", worker, at)
    if worker.hardware.kernel_profile == "blackwell" and is_fp8(form.arithmetic):
        time *= at["layer_time[kernel_profile=blackwell,format=fp8]"]
    return time


def of_machine(name: str, worker: Worker, at: Constants) -> float:
    """Take a constant as it is on a family of chips."""
    return at[name] * at.get(f"{name}[kernel_profile={worker.hardware.kernel_profile}]", 1.0)


def matrix(
    worker: Worker, weights: float, bits: float, rate: float, n: float, at: Constants
) -> float:
    return weights * bits / 8 / hbm(worker, at) + 2 * n * weights / rate


def beyond(worker: Worker, at: Constants) -> float:
    """What a path inside a domain is longer than that of the measured kernels."""
    return max(worker.path.domain_latency - at["kernel_path_latency"], 0)


def tp(worker: Worker) -> int:
    return 1 if worker.dp else worker.gpus


def hbm(worker: Worker, at: Constants) -> float:
    return at["hbm_efficiency"] * worker.hardware.hbm_rate.value


def dense_rate(worker: Worker, at: Constants) -> float:
    return at["dense_efficiency"] * peak(worker.hardware, worker.precision.attention)


def expert_rate(worker: Worker, form: Format, at: Constants) -> float:
    share = of_machine("expert_efficiency", worker, at)
    if is_fp8(form.arithmetic):
        share *= at["expert_efficiency[format=fp8]"]
        if worker.trtllm_kernels:
            share *= at["expert_efficiency[format=fp8,kernel=trtllm]"]
    elif form.arithmetic >= 9:
        share *= at["expert_efficiency[format=bf16]"]
    return min(share, 1.0) * form.rate


def is_fp8(bits: float) -> bool:
    return 5 <= bits < 9


def peak(machine: Hardware, bits: float) -> float:
    if bits < 5:
        return machine.flops["fp4"].value
    return machine.flops["fp8" if bits < 9 else "bf16"].value
