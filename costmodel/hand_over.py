"""Hand-over of the KV cache of a request from the worker that prefills to the one that decodes.

A NIC sends it piece by piece: each layer as a whole where the engine packs it, page by page where
it does not. Pieces take a time of their own however small they are; so do bytes.
"""

from __future__ import annotations

import numpy as np

from costmodel.attention import kept_of_model
from costmodel.inputs import FloatArray, MachineArrays, ModelArrays
from costmodel.workload import Workload


def hand_over_bytes(model: ModelArrays, workload: Workload) -> FloatArray:
    """Cache and state of one input [B]."""
    return kept_of_model(model, workload.input_tokens)


def descriptors(model: ModelArrays, workload: Workload) -> FloatArray:
    """Pieces of memory that one input is sent in: pages of each layer, or the layer as one [1]."""
    pages = np.maximum(np.ceil(workload.input_tokens / workload.hand_over_page), 1.0)
    return np.asarray(model.layers * pages)


def hand_over_busy(
    machine: MachineArrays, model: ModelArrays, workload: Workload, nic_rate: FloatArray
) -> FloatArray:
    """Time for which the hand-over of one input keeps a NIC busy [s].

    ``sqrt((D tau)^2 + (bytes / (h R))^2)`` with ``D`` descriptors of ``tau`` seconds and the share
    ``h`` of the rate that large transfers reach; sources with the facts of `presets.nics.Nic`.

    Parameters
    ----------
    machine
        Whose NICs they are.
    nic_rate
        Rate at which they send to the other worker. [B/s]
    """
    moved = hand_over_bytes(model, workload) / (machine.hand_over_efficiency * nic_rate)
    return np.hypot(descriptors(model, workload) * machine.descriptor_time, moved)
