"""Collectives of the scalar step: exchange of experts in a domain and across, all-reduce."""

from math import inf, log2

from tests.costmodel.scalar_worker import Constants, Format, Worker, beyond, of_machine


def all_reduces(worker: Worker, n: float, at: Constants) -> float:
    return 0.0 if worker.dp else 2 * all_reduce(worker, n, at)


def exchange(worker: Worker, form: Format, n: float, at: Constants) -> tuple[float, float]:
    """Dispatch and combine of one layer under dp."""
    if worker.gpus == 1:
        return 0.0, 0.0
    if worker.path.domains > 1:
        return across_domains(worker, form, n, at)
    hidden = worker.model.moe.latent or worker.model.hidden
    there = 0.5625 * hidden if form.wire_input < 5 else 2.0 * hidden
    back = 0.5625 * hidden if form.wire_combine < 5 else 2.0 * hidden
    dispatch = one_way(worker, "dispatch", there, n, at)
    dispatch += of_machine("exchange_factor", worker, at) * kernel("prepare", worker, n, at)
    combine = "combine_low_precision" if form.arithmetic < 5 else "combine"
    return dispatch, one_way(worker, combine, back, n, at)


def kernel(name: str, worker: Worker, n: float, at: Constants) -> float:
    fixed = at[f"{name}.latency"] + at[f"{name}.latency_per_doubling"] * log2(worker.gpus)
    return (
        fixed
        + n * 2 * (worker.model.moe.latent or worker.model.hidden) * at[f"{name}.seconds_per_byte"]
    )


def one_way(worker: Worker, name: str, size: float, n: float, at: Constants) -> float:
    path = worker.path
    hit = 1 - (1 - 1 / worker.ep) ** worker.model.moe.top_k
    wire = n * size * hit * (worker.gpus - 1) / (at["link_efficiency"] * path.nvlink_rate)
    return of_machine("exchange_factor", worker, at) * (
        kernel(name, worker, n, at) + wire + beyond(worker, at)
    )


def across_domains(worker: Worker, form: Format, n: float, at: Constants) -> tuple[float, float]:
    hidden = worker.model.moe.latent or worker.model.hidden
    back = 2.0 * hidden
    there = 0.5625 * hidden if form.wire_input < 5 else 2.0 * hidden
    if worker.fp8_dispatch and 5 <= form.wire_input < 9:
        there = (1 + 1 / 32) * hidden
    narrow = 0.5625 * hidden if worker.fp4_combine and form.wire_combine < 5 else back
    found = []
    for name in worker.kernels:
        if name == "deepep_low_latency":
            times = (
                low_latency("low_latency_dispatch", worker, there, n, at),
                low_latency("low_latency_combine", worker, narrow, n, at),
            )
        elif name == "deepep_normal":
            times = (
                normal("normal_dispatch", worker, there, n, at),
                normal("normal_combine", worker, back, n, at),
            )
        else:
            times = (gather(worker, there, n, at), gather(worker, back, n, at))
        found.append(times)
    return min(found, key=sum)


def start(name: str, worker: Worker, at: Constants) -> float:
    blackwell = worker.hardware.kernel_profile == "blackwell"
    later = at["deepep_latency[kernel_profile=blackwell]"] if blackwell else 0.0
    return at[f"{name}.latency"] + later


def low_latency(name: str, worker: Worker, size: float, n: float, at: Constants) -> float:
    path = worker.path
    sent = n * worker.model.moe.top_k / worker.ep * size
    nic = sent * path.seconds_per_pair_byte / at[f"{name}.nic_efficiency"]
    near = sent * (worker.gpus / path.domains - 1)
    near /= at[f"{name}.link_efficiency"] * path.nvlink_rate
    doublings = at[f"{name}.latency_per_doubling"] * (1 + log2(path.domains))
    return at["low_latency_factor"] * (start(name, worker, at) + doublings + max(nic, near))


def normal(name: str, worker: Worker, size: float, n: float, at: Constants) -> float:
    path, k = worker.path, worker.model.moe.top_k
    other = (path.domains - 1) * (1 - (1 - 1 / min(worker.ep, path.domains)) ** k)
    nic = n * size * other / (at[f"{name}.nic_efficiency"] * path.nic_rate)
    copies = worker.gpus * (1 - (1 - 1 / worker.ep) ** k) + other
    moved = n * size * copies / at[f"{name}.copy_rate"]
    doublings = at[f"{name}.latency_per_doubling"] * log2(path.domains)
    joined = float((nic**4 + moved**4) ** 0.25)
    return at["normal_factor"] * (start(name, worker, at) + doublings + joined)


def gather(worker: Worker, size: float, n: float, at: Constants) -> float:
    path = worker.path
    nic = n * size * (path.domains - 1) / (at["gather.nic_efficiency"] * path.nic_rate)
    near = n * size * (worker.gpus - 1) / (at["gather.link_efficiency"] * path.nvlink_rate)
    doublings = at["gather.latency_per_doubling"] * log2(worker.gpus)
    return at["gather.latency"] + doublings + max(nic, near)


def all_reduce(worker: Worker, n: float, at: Constants) -> float:
    """One all-reduce of the activations of n tokens."""
    path, gpus, factor = worker.path, worker.gpus, at["all_reduce_factor"]
    if gpus == 1:
        return 0.0
    size = 2.0 * worker.model.hidden * n
    link = at["link_efficiency"] * path.nvlink_rate / factor
    two_shot = factor * at["two_shot_latency"]
    if path.domains > 1:
        inside = gpus / path.domains
        near = 2 * size * (1 - 1 / inside) / (at["link_efficiency"] * path.nvlink_rate)
        nic = 2 * size / inside * (1 - 1 / path.domains)
        nic /= at["crossing_reduce_efficiency"] * path.nic_rate
        return at["crossing_reduce_latency"] * log2(path.domains) + near + nic
    best = inf
    for group in (2, 4, 8, 16, 32, 64, gpus):
        if group > gpus or gpus % group:
            continue
        one_shot = size * (group - 1) / link
        first = min(one_shot, two_shot + 2 * size * (group - 1) / group / link)
        second = two_shot + 2 * size / group * (1 - group / gpus) / link if group < gpus else 0.0
        best = min(best, first + second)
    launch = of_machine("all_reduce_launch", worker, at)
    return factor * (launch + beyond(worker, at)) + best
