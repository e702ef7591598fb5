"""Equal-cost shortest paths between switches, found once for switches that are alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from topology.cluster import LinkKind

    IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

Switch = tuple[str, int]
"""Kind and number of a switch."""

Hop = tuple[int, int]
"""From a kind of switch to the next."""


class Bundle(NamedTuple):
    """Cables between any switch of one kind and any of another.

    Attributes
    ----------
    cables : int
        Between two switches. [1]
    rate : float
        Of one cable, one way. [B/s]
    latency : int
        [ps]
    kind : str
        Kind of link.
    """

    cables: int
    rate: float
    latency: int
    kind: LinkKind


class Routes:
    """Shortest paths in a graph of switches, every cable of equal-cost paths carrying its share.

    Switches of one tier with equal cables to the same neighbours are one kind: they can be swapped,
    so that a path between kinds stands for those of all their switches. Of switches that GPUs hang
    on only those without such a neighbour are folded.

    Parameters
    ----------
    graph : networkx.Graph
        Switches with bundles of cables; see `topology.fabric.Plane`.
    attached : set of tuple of (str, int)
        Switches that GPUs hang on.

    Attributes
    ----------
    kind_of : dict
        From switch to the number of its kind.
    members : list of list
        Switches of each kind.
    """

    def __init__(self, graph: nx.Graph[Switch], attached: AbstractSet[Switch]) -> None:
        self.kind_of: dict[Switch, int] = {}
        self.members: list[list[Switch]] = []
        numbers: dict[object, int] = {}
        for switch in graph:
            signature = _signature(graph, switch, attached)
            kind = numbers.setdefault(signature, len(numbers))
            if kind == len(self.members):
                self.members.append([])
            self.members[kind].append(switch)
            self.kind_of[switch] = kind
        self.is_folded = [len(some) > 1 and some[0] in attached for some in self.members]
        self._kinds: nx.Graph[int] = nx.Graph()
        self._kinds.add_nodes_from(range(len(self.members)))
        for kind, switches in enumerate(self.members):
            for other, link in graph.adj[switches[0]].items():
                bundle = Bundle(link["cables"], link["rate"], link["latency"], link["kind"])
                self._kinds.add_edge(
                    kind, self.kind_of[other], bundle=bundle, latency=bundle.latency
                )
        self._from: dict[int, tuple[dict[int, list[int]], dict[int, float]]] = {}
        self._shares: dict[tuple[int, int], dict[Hop, float]] = {}

    def bundle(self, hop: Hop) -> Bundle:
        """Cables between two kinds."""
        found: Bundle = self._kinds.edges[hop]["bundle"]
        return found

    def size(self, kind: int) -> int:
        """Count the switches of a kind [1]."""
        return len(self.members[kind])

    def latency(self, first: int, second: int, *, same: bool) -> float:
        """Latency from a switch of one kind to the same, or another, switch of a kind [ps].

        Infinite where no path joins them.
        """
        if first == second:
            return 0 if same else 2 * self._nearest(first)
        return self._paths(first)[1].get(second, math.inf)

    def shares(self, first: int, second: int) -> dict[Hop, float]:
        """Share of what goes from a switch of one kind to another switch that takes each hop.

        Every shortest path carries equally much, parallel cables counted as paths.
        """
        if (first, second) not in self._shares:
            twins = first == second
            found = self._twin_shares(first) if twins else self._path_shares(first, second)
            self._shares[first, second] = found
        return self._shares[first, second]

    def _nearest(self, kind: int) -> float:
        """Latency to the nearest neighbours of a kind [ps]."""
        near = (link["latency"] for link in self._kinds.adj[kind].values())
        return min(near, default=math.inf)

    def _twin_shares(self, kind: int) -> dict[Hop, float]:
        """Shares between two switches of a kind: by way of a neighbour, and all are common."""
        nearest = self._nearest(kind)
        ways = {
            other: self.size(other) * link["bundle"].cables ** 2
            for other, link in self._kinds.adj[kind].items()
            if link["latency"] == nearest
        }
        shares = {}
        for other, count in ways.items():
            shares[kind, other] = shares[other, kind] = count / sum(ways.values())
        return shares

    def _paths(self, source: int) -> tuple[dict[int, list[int]], dict[int, float]]:
        """Kinds before each kind on shortest paths from one, and latencies [ps]."""
        if source not in self._from:
            self._from[source] = nx.dijkstra_predecessor_and_distance(
                self._kinds, source, weight="latency"
            )
        return self._from[source]

    def _path_shares(self, source: int, target: int) -> dict[Hop, float]:
        before, latency = self._paths(source)
        on_path = {target}
        for kind in sorted(latency, key=latency.__getitem__, reverse=True):
            if kind in on_path:
                on_path.update(before[kind])
        outwards = sorted(on_path, key=lambda kind: latency[kind])
        # Paths that end at one given switch of a kind, and at any of them.
        to_one, to_any = {source: 1}, {source: 1}
        ways: dict[Hop, int] = {}
        for kind in outwards[1:]:
            for last in before[kind]:
                ways[last, kind] = to_any[last] * self.bundle((last, kind)).cables
            to_one[kind] = sum(ways[last, kind] for last in before[kind])
            to_any[kind] = to_one[kind] * self.size(kind)
        through = dict.fromkeys(on_path, 0.0) | {target: 1.0}
        shares = {}
        for kind in reversed(outwards[1:]):
            for last in before[kind]:
                share = through[kind] * (ways[last, kind] / to_one[kind])
                shares[last, kind] = share
                through[last] += share
        return shares


def _signature(graph: nx.Graph[Switch], switch: Switch, attached: AbstractSet[Switch]) -> object:
    """Say what switches that can be swapped have in common; of others give the name."""
    neighbours = graph.adj[switch]
    if switch in attached and not attached.isdisjoint(neighbours):
        return switch
    cables = frozenset((other, *link.values()) for other, link in neighbours.items())
    # Without cables a switch joins its own GPUs alone.
    return (switch[0], switch in attached, cables) if cables else switch
