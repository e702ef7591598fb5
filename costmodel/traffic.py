"""Bytes that one deployment moves over each kind of link, and how much of the link's rate it uses.

What the time of a step charges to links and memory is counted here as bytes: sent by one GPU, or
read from its memory, on the rank of the worker that moves most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from costmodel.calibration import Calibration
from costmodel.collectives import all_reduce_time, ranks_hit
from costmodel.decode import decode_step, draft_layer
from costmodel.deployments import (
    deployments_of,
    memory_limit,
    network_of,
    prefilling_worker,
    run,
)
from costmodel.exchange import crossing_exchange
from costmodel.hand_over import hand_over_bytes
from costmodel.inputs import FloatArray, PathArrays
from costmodel.network import Network, Steady, ranks
from costmodel.results import Case
from costmodel.serving import batch_met
from presets import ClusterSpec
from topology import group_table

NUDGE = 1e-6
"""Relative change of a rate from which the slope of time is taken. [1]"""

LINKS = ("nvlink", "nic")

ONE = np.ones(())


@dataclass(frozen=True)
class LinkUse:
    """What one GPU moves over one kind of link, on average over time.

    Attributes
    ----------
    moved : float
        In one direction: per step of a decode worker, or per request of a prefill worker. [B]
    in_use : float
        [B/s]
    rate : float
        What the link could carry in that direction. [B/s]
    """

    moved: float
    in_use: float
    rate: float

    @property
    def utilisation(self) -> float:
        """Share of the link's rate in use [1]."""
        return self.in_use / self.rate


@dataclass(frozen=True)
class Traffic:
    """Links of one GPU of a decode worker and of a prefill worker, by kind.

    Attributes
    ----------
    decode : dict
        "nvlink", "nic" and "hbm".
    prefill : dict
        "nvlink" and "nic"; the cost model takes prefill as bound by arithmetic, not by memory.
    """

    decode: dict[str, LinkUse]
    prefill: dict[str, LinkUse]


def traffic_of(case: Case, calibration: Calibration) -> Traffic:
    """Count what a deployment moves in steady state.

    Raises
    ------
    InputError
        If a worker does not fit its cluster, or the model is not offered at the precision.

    Notes
    -----
    A token goes once to each rank that holds one of its experts and comes back as often; across
    domains the kernel that carries it says in how many copies. Inside a domain the busiest GPU of a
    worker is counted, across domains the mean one. An all-reduce moves what the quickest
    hierarchy does. A request's KV cache leaves its prefill rank over one NIC, and arrives spread
    over the NICs of the decode worker. From memory a step reads weights and KV cache, once.
    """
    deployments = deployments_of([case], calibration.anchors)
    network = network_of(deployments, calibration)
    steady = run(deployments, calibration).steady
    slots = np.minimum(deployments.max_batch, np.maximum(memory_limit(deployments, calibration), 1))
    rates, prefill_rates = _rates(case.cluster), _rates(case.prefill_on)
    decode = _decode_bytes(case, network, steady, slots)
    prefill = _prefill_bytes(case, network, deployments.prefill_paths)
    step = _number(steady.decode.step.total)
    # Requests that a prefill GPU works on: its own (dp), or all of its worker (tp). [1/s]
    servers = network.fleet.prefill_workers * network.prefill.servers
    requests = _number(steady.request_rate / servers)
    return Traffic(
        decode={name: LinkUse(size, size / step, rates[name]) for name, size in decode.items()},
        prefill={
            name: LinkUse(size, size * requests, prefill_rates[name])
            for name, size in prefill.items()
        },
    )


def _rates(cluster: ClusterSpec) -> dict[str, float]:
    """Rate of each kind of link of one GPU [B/s]."""
    hardware = cluster.hardware()
    return {
        "nvlink": hardware.scale_up_rate.value,
        "nic": hardware.scale_out_rate.value,
        "hbm": hardware.hbm_rate.value,
    }


def peers(cluster: ClusterSpec, gpus: int) -> dict[str, float]:
    """Peers that the busiest GPU of a worker reaches over each kind of link."""
    sizes = group_table(cluster, [gpus])[gpus].domain_sizes
    return {"nvlink": float(max(sizes) - 1), "nic": float(gpus - min(sizes))}


def _decode_bytes(
    case: Case, network: Network, steady: Steady, slots: FloatArray
) -> dict[str, float]:
    """Bytes of one step and GPU by kind of link [B]."""
    batch = batch_met(
        steady.decode.requests,
        slots,
        ranks(network.workers),
        network.fleet,
    )
    hand_over = _hand_over(network) * steady.decode.request_rate / network.workers.gpus
    if case.configuration.decode_attention == "dp":
        links = _exchanged(network, batch)
        if case.configuration.decode_attention_tp > 1:  # in groups, parted around the experts
            near = network._replace(paths=network.paths._replace(domains=ONE))
            links["nvlink"] += 0.5 * _reduced(near, batch, "nvlink")
    else:
        links = {name: _reduced(network, batch, name) for name in LINKS}
    return {
        "nvlink": links["nvlink"],
        "nic": links["nic"] + _number(hand_over * steady.decode.step.total),
        "hbm": _read(network, batch),
    }


def _prefill_bytes(case: Case, network: Network, paths: PathArrays) -> dict[str, float]:
    """Bytes of one request and GPU by kind of link [B]."""
    gpus, attention = prefilling_worker(case.configuration)
    gpus //= case.configuration.prefill_stages  # each does its share on as many more requests
    model = network.model
    tokens, hand_over = network.workload.prefilled_tokens, _number(_hand_over(network))
    if attention == "tp":
        # All GPUs work on each request, and one of them hands it over.
        group = np.asarray(float(gpus))
        size = 2.0 * model.hidden * tokens
        once = {name: _reduced_once(network, size, name, group, paths) for name in LINKS}
        links = {name: _number(2.0 * model.layers * moved) for name, moved in once.items()}
        return links | {"nic": links["nic"] + hand_over / gpus}
    copies = ranks_hit(np.asarray(float(gpus)), model.top_k) if gpus > 1 else 0.0
    token = model.moe_layers * copies * (model.dispatch_bytes + model.combine_bytes)
    sent = _number(tokens * token)
    links = {name: sent * count for name, count in peers(case.prefill_on, gpus).items()}
    return links | {"nic": links["nic"] + hand_over}


def _hand_over(network: Network) -> FloatArray:
    """KV cache of one input, which workers that do both keep where it is [B]."""
    size = hand_over_bytes(network.model, network.workload)
    return size if network.mixed is None else np.where(network.mixed.aggregated, 0.0, size)


def _exchanged(network: Network, batch: FloatArray) -> dict[str, float]:
    """Dispatch and combine of one step [B]."""
    workers, depth = network.workers, network.workers.mtp_depth
    layer = network.machine, network.model
    draft = draft_layer(network.machine, network.model)
    batch = batch / workers.tp  # each GPU of a group sends its part
    drafted, passes = _drafted(network, batch)
    moved = dict.fromkeys(LINKS, 0.0)
    for (machine, model), tokens, times in (
        (layer, batch * (1.0 + depth), network.model.moe_layers),
        (draft, drafted, passes * network.model.draft_moe),
    ):
        if (network.paths.domains > 1).any():
            across = crossing_exchange(
                machine, model, workers, tokens, network.paths, network.calibration
            )
            each = {"nvlink": across.nvlink_bytes, "nic": across.nic_bytes}
        else:
            sent = tokens * (model.dispatch_bytes + model.combine_bytes)
            peers_hit = ranks_hit(workers.ep, model.top_k) * (workers.gpus - 1.0)
            each = {"nvlink": sent * peers_hit, "nic": np.zeros(())}
        for name, size in each.items():
            moved[name] += _number(times * size)
    return moved


def _drafted(network: Network, of_request: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Count the tokens that drafts handle in one layer, and such layers of a step [1].

    As in the time of a draft: two tokens of each request on average, or a block.
    """
    model, depth = network.model, network.workers.mtp_depth
    drafted = of_request * np.where(model.draft_block, depth, 2.0)
    return drafted, model.draft_passes * np.where(model.draft_block, np.minimum(depth, 1.0), depth)


def _reduced(network: Network, batch: FloatArray, link: str) -> float:
    """All-reduces of one step, two in each layer and draft [B]."""
    model, workers = network.model, network.workers
    once = partial(_reduced_once, network, link=link, gpus=workers.tp, paths=network.paths)
    size = 2.0 * model.hidden * batch  # BF16 activations of one token per request
    layers = once(size * (1.0 + workers.mtp_depth)) * model.layers
    drafted, passes = _drafted(network, size)
    drafts = once(drafted) * passes
    return _number(2.0 * (layers + drafts))


def _reduced_once(
    network: Network, size: FloatArray, link: str, gpus: FloatArray, paths: PathArrays
) -> FloatArray:
    """Bytes of one all-reduce over one kind of link [B].

    They are the slope of its time in the link's inverse rate. What else enters the slope, shares of
    the rate that are reached, is that of two GPUs, who move the message once.
    """
    domains = 1.0 if link == "nvlink" else 2.0
    pair = paths._replace(domains=np.asarray(domains))
    once = _slope(network, size, 2.0 * ONE, pair, link)
    return size * _slope(network, size, gpus, paths, link) / once


def _slope(
    network: Network, size: FloatArray, gpus: FloatArray, paths: PathArrays, link: str
) -> FloatArray:
    """Slope of the time of an all-reduce in the inverse of one link's rate [B]."""
    rate = getattr(paths, f"{link}_rate")
    changed = {f"{link}_rate": rate * (1.0 + NUDGE)}
    faster = paths._replace(**changed)
    none = np.zeros(())
    times = [
        all_reduce_time(size, gpus, each, network.calibration, none) for each in (paths, faster)
    ]
    return np.asarray((times[0] - times[1]) / (1.0 / rate - 1.0 / (rate * (1.0 + NUDGE))))


def _read(network: Network, batch: FloatArray) -> float:
    """Weights and KV cache that one step reads [B].

    A machine of boundless arithmetic spends on memory what it takes longer than one of boundless
    memory rate as well.
    """
    endless = np.asarray(np.inf)
    machine = network.machine._replace(
        flops_experts=endless,
        flops_dense=endless,
        flops_draft=endless,
        flops_attention=endless,
        flops_bf16=endless,
    )
    # Bytes as such: neither shares of the rate, nor factors on time, nor time that is hidden.
    ideal: dict[str, Any] = {"hbm_efficiency": 1.0, "cache_efficiency": 1.0, "draft_factor": 1.0}
    ideal |= {"sync_share": 0.0, "engine_factor": 1.0, "overlap": 0.0}
    draft = network.calibration.draft or network.calibration
    calibration = network.calibration._replace(**ideal, draft=draft._replace(**ideal))
    times = [
        decode_step(each, network.model, network.workers, network.paths, batch, calibration).total
        for each in (machine, machine._replace(hbm_rate=endless))
    ]
    return _number((times[0] - times[1]) * network.machine.hbm_rate)


def _number(values: FloatArray) -> float:
    """Take the one value of an array."""
    return float(np.asarray(values).reshape(-1)[0])
