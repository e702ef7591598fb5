"""Second opinions on loads: all pairs of GPUs over all shortest paths, and random fabrics."""

import random
from collections import defaultdict
from itertools import pairwise, product
from math import prod
from typing import cast

import networkx as nx
import numpy as np

from topology.cluster import PICOSECOND
from topology.fabric import Attachment, Cables, Fabric, Plane, Port, plane_of
from topology.loads import Flow
from topology.routes import Switch

Hop = tuple[object, object]


def paths_of(plane: Plane, source: int, target: int) -> list[tuple[float, list[Hop], float]]:
    """Share, hops and latency of each shortest path between two GPUs; none where they are apart.

    The pairs of ports of least latency share evenly, and of each pair all paths, cable by cable.
    """
    found = []
    ends = [(_ports(plane, source)), _ports(plane, target)]
    for one, other in product(*ends):
        if not nx.has_path(plane.graph, one.switch, other.switch):
            continue
        paths = list(nx.all_shortest_paths(plane.graph, one.switch, other.switch, weight="latency"))
        latency = one.latency + other.latency + nx.path_weight(plane.graph, paths[0], "latency")
        ways = [prod(plane.graph.edges[hop]["cables"] for hop in pairwise(path)) for path in paths]
        for path, way in zip(paths, ways, strict=True):
            hops = [(source, one), *pairwise(path), (other, target)]
            found.append((way / sum(ways), hops, latency))
    least = min((latency for *_, latency in found), default=0.0)
    found = [each for each in found if each[2] == least]
    shares = sum(share for share, *_ in found)
    return [(share / shares, hops, latency) for share, hops, latency in found]


def _ports(plane: Plane, gpu: int) -> Attachment:
    number = int(plane.of_gpu[gpu])
    return plane.attachments[number] if number >= 0 else ()


def by_pairs(fabric: Fabric, flows: list[Flow]) -> tuple[dict[str, float], dict[Hop, float], float]:
    """Worst seconds by kind of link, seconds of each cable of switches, longest latency [s]."""
    moved: dict[tuple[Plane, Hop], float] = defaultdict(float)
    longest = 0.0
    for flow in flows:
        for source, target in product(flow.sources, flow.targets):
            if source == target:
                continue
            planes = (fabric.scale_up, fabric.scale_out)
            found = ((plane, paths_of(plane, source, target)) for plane in planes)
            plane, paths = next(((at, some) for at, some in found if some), (None, []))
            if plane is None:
                raise LookupError(f"{source} and {target} are apart")
            for share, hops, latency in paths:
                longest = max(longest, latency)
                for hop in hops:
                    moved[plane, hop] += flow.size * share
    worst: dict[str, float] = defaultdict(float)
    cables = {}
    for (plane, hop), each in moved.items():
        port = next((end for end in hop if isinstance(end, Port)), None)
        if port is not None:
            kind, seconds = str(plane.kind), each / port.rate
        else:
            link = plane.graph.edges[cast("tuple[Switch, Switch]", hop)]
            kind, seconds = str(link["kind"]), each / link["cables"] / link["rate"]
            cables[hop] = seconds
        worst[kind] = max(worst[kind], seconds)
    return dict(worst), cables, longest * PICOSECOND


def random_fabric(rng: random.Random) -> Fabric:
    """Islands of all sorts on a fabric of up to three tiers, some of it missing."""
    gpus = rng.randint(2, 12)
    return Fabric(_scale_up(rng, gpus), _scale_out(rng, gpus))


def _scale_up(rng: random.Random, gpus: int) -> Plane:
    attachments: list[Attachment] = []
    of_gpu, cables = [], []
    gpu, hop = 0, rng.choice([300_000, 500_000])
    while gpu < gpus:
        size = min(rng.randint(1, 5), gpus - gpu)
        sort = rng.choice(["switch", "mesh", "ring", "two switches", "none"])
        first = len(attachments)
        if sort == "none":
            of_gpu += [-1] * size
        elif sort == "switch":
            attachments.append((Port(("nvswitch", gpu), 9e11, hop),))
            of_gpu += [first] * size
        elif sort == "two switches":
            attachments += [(Port(("nvswitch", gpu + each), 9e11, hop),) for each in range(2)]
            of_gpu += [first + rng.randint(0, 1) for _ in range(size)]
            ends = ("nvswitch", gpu), ("nvswitch", gpu + 1)
            cables.append(Cables(*ends, rng.randint(1, 3), 4e11, hop, "nvlink"))
        else:
            attachments += [(Port(("xgmi", gpu + each), 5e11, 1),) for each in range(size)]
            of_gpu += list(range(first, first + size))
            for one in range(size):
                for other in range(one):
                    if sort == "mesh" or one - other in (1, size - 1):
                        ends = ("xgmi", gpu + one), ("xgmi", gpu + other)
                        cables.append(Cables(*ends, 1, 6e10, hop, "nvlink"))
        gpu += size
    return plane_of("nvlink", attachments, np.array(of_gpu), cables)


def _scale_out(rng: random.Random, gpus: int) -> Plane:
    leaves, spines, cores = rng.randint(1, 6), rng.randint(1, 4), rng.randint(0, 2)
    pods = rng.randint(1, 2)
    missing = rng.choice([0.0, 0.0, 0.2])
    cables = []
    for leaf in range(leaves):
        for spine in range(spines):
            if spine % pods == leaf % pods and rng.random() >= missing:
                ends = ("leaf", leaf), ("spine", spine)
                cables.append(Cables(*ends, rng.choice([1, 1, 1, 2]), 5e10, 500_000, "leaf_spine"))
    for spine in range(spines):
        for core in range(cores):
            if rng.random() >= missing:
                ends = ("spine", spine), ("core", core)
                cables.append(Cables(*ends, 1, 7e10, 500_000, "spine_core"))
    distinct: dict[Attachment, int] = {}
    of_gpu = []
    for _ in range(gpus):
        ports = rng.choice([1, 1, 1, 2])
        latency = rng.choice([1_000_000, 1_000_000, 1_500_000])
        chosen = rng.sample(range(leaves), min(ports, leaves))
        nics = tuple(Port(("leaf", leaf), 5e10, latency) for leaf in sorted(chosen))
        of_gpu.append(distinct.setdefault(nics, len(distinct)))
    return plane_of("nic", list(distinct), np.array(of_gpu), cables)
