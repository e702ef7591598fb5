"""Flows of the collectives that workers run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from topology.fabric import Fabric
from topology.loads import Flow


def all_to_all(gpus: Sequence[int], size: float = 1.0) -> list[Flow]:
    """Every GPU sends ``size`` bytes to every other [B].

    Examples
    --------
    >>> all_to_all([0, 1])
    [Flow(sources=[0, 1], targets=[0, 1], size=1.0)]
    """
    return [Flow(gpus, gpus, size)]


def hand_over(prefill: Sequence[int], decode: Sequence[int], size: float = 1.0) -> list[Flow]:
    """Every GPU of prefill sends ``size`` bytes, spread evenly over those of decode [B]."""
    return [Flow(prefill, decode, size / len(decode))]


def all_reduce(
    fabric: Fabric,
    gpus: Sequence[int],
    size: float = 1.0,
    shape: Literal["ring", "tree"] = "ring",
) -> list[Flow]:
    """Reduce ``size`` bytes over all GPUs, first inside each scale-up domain, then across them.

    Parameters
    ----------
    fabric : Fabric
        The cluster.
    gpus : sequence of int
        Distinct numbers of the group's GPUs.
    size : float
        Of the message. [B]
    shape : {"ring", "tree"}
        How domains reduce among themselves.

    Notes
    -----
    In a domain of g GPUs each reduces 1/g of the message and gives it to the others, twice
    ``size/g`` between each two. Then as many GPUs of each domain as the smallest has reduce a share
    each across N domains: in a ring each sends ``2 (1 - 1/N)`` times its share to the next, in a
    binary tree once to its parent and once to each child.
    """
    islands: dict[int, list[int]] = defaultdict(list)
    for gpu, island in zip(gpus, fabric.scale_up.island_of[list(gpus)].tolist(), strict=True):
        islands[island].append(gpu)
    domains = list(islands.values())
    flows = [Flow(each, each, 2.0 * size / len(each)) for each in domains if len(each) > 1]
    if len(domains) == 1:
        return flows
    heads = min(map(len, domains))
    share = size / heads
    if shape == "ring":
        links = [*pairwise(domains), (domains[-1], domains[0])]
        amount = 2.0 * share * (1.0 - 1.0 / len(domains))
    else:
        up = [(domains[child], domains[(child - 1) // 2]) for child in range(1, len(domains))]
        links, amount = [*up, *((parent, child) for child, parent in up)], share
    for start, end in links:
        flows += [Flow([start[each]], [end[each]], amount) for each in range(heads)]
    return flows
