"""Configurations that no engine could start, refused in one sentence."""

from __future__ import annotations

import math

from costmodel.results import Configuration
from presets import ClusterSpec, InputError, Model


def check_shape(configuration: Configuration, model: Model, cluster: ClusterSpec) -> None:
    """Refuse a configuration that no engine could start.

    Raises
    ------
    InputError
        Naming the field, its value and what would be valid.
    """
    gpus, ep = configuration.decode_gpus_per_worker, configuration.decode_ep
    if configuration.gpus > cluster.gpus:
        raise InputError(
            f"configuration asks for {configuration.gpus} GPUs, but the cluster has {cluster.gpus}"
        )
    if gpus % ep:
        raise InputError(f"decode_ep {ep} must divide decode_gpus_per_worker {gpus}")
    slots = configuration.eplb_slots or model.experts
    if slots < model.experts:
        raise InputError(f"eplb_slots {slots} must be 0 or at least the {model.experts} experts")
    if slots % ep:
        raise InputError(f"decode_ep {ep} must divide the {slots} expert slots")
    if configuration.decode_attention == "tp" and model.attention.heads % gpus:
        raise InputError(
            f"decode_gpus_per_worker {gpus} must divide the {model.attention.heads} attention "
            "heads under decode_attention tp"
        )
    if configuration.mtp_depth and not model.draft_layers:
        raise InputError(
            f"mtp_depth {configuration.mtp_depth} needs draft layers; {model.name} has none, use 0"
        )


def check_memory(
    configuration: Configuration, limit: float, prefill_limit: float, cluster: ClusterSpec
) -> None:
    """Refuse a worker whose weights, or a batch whose KV cache beside them, do not fit.

    Raises
    ------
    InputError
        Naming the largest batch that fits.
    """
    gpus = configuration.decode_gpus_per_worker
    if prefill_limit < 1.0:
        raise InputError(
            f"prefill_gpus_per_worker {configuration.prefill_gpus_per_worker}: the weights leave "
            f"no room for one request in the memory of {cluster.sku}; use more GPUs per worker"
        )
    if limit < 1.0:
        raise InputError(
            f"decode_gpus_per_worker {gpus}: the weights leave no room for one request in the "
            f"memory of {cluster.sku}; use more GPUs per worker"
        )
    if configuration.max_batch > limit:
        raise InputError(
            f"max_batch {configuration.max_batch} does not fit in the memory of {cluster.sku} at "
            f"{gpus} GPUs per worker; at most {math.floor(limit)}"
        )
