"""A cluster's switches as a graph, and its GPUs as classes of ports on them.

A GPU has ports on two planes: its scale-up network, and the scale-out fabric that its NICs reach.
Two GPUs talk over the first plane that joins them. GPUs with equal ports are one attachment of a
plane, so that a hundred thousand GPUs are as many nodes as there are switches. A mesh or a torus
without switches is one switch for each GPU, with the cables between them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np

from topology.cluster import LinkKind
from topology.routes import Routes, Switch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topology.contention import GroupLoad

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Port(NamedTuple):
    """A GPU's link to a switch.

    Attributes
    ----------
    switch : tuple of (str, int)
        Node of the graph.
    rate : float
        One way. [B/s]
    latency : int
        [ps]
    """

    switch: Switch
    rate: float
    latency: int


Attachment = tuple[Port, ...]


@dataclass(frozen=True, eq=False)
class Plane:
    """One network of a cluster.

    Attributes
    ----------
    kind : {"nvlink", "nic"}
        What its ports are called.
    graph : networkx.Graph
        Switches; an edge is a bundle of ``cables``, each with ``rate`` [B/s] one way, ``latency``
        [ps] and ``kind``.
    attachments : tuple of tuple of Port
        Distinct ports of GPUs.
    of_gpu : array of int
        Attachment of each GPU; -1 for a GPU that has no port here.
    """

    kind: LinkKind
    graph: nx.Graph[Switch]
    attachments: tuple[Attachment, ...]
    of_gpu: IntArray

    @cached_property
    def routes(self) -> Routes:
        """Shortest paths between its switches."""
        attached = {port.switch for ports in self.attachments for port in ports}
        return Routes(self.graph, attached)

    @cached_property
    def port_rates(self) -> FloatArray:
        """Rates of each attachment's ports, infinite where there is none; last of no attachment.

        Shape ``(attachments + 1, ports)``. [B/s]
        """
        most = max(map(len, self.attachments), default=0)
        rates = np.full((len(self.attachments) + 1, most), np.inf)
        for row, ports in zip(rates, self.attachments, strict=False):
            row[: len(ports)] = [port.rate for port in ports]
        return rates

    @cached_property
    def island_of(self) -> IntArray:
        """Number of the part of the plane that each GPU is joined to; GPUs without any differ."""
        joined: nx.Graph[object] = nx.Graph()
        joined.add_nodes_from(range(len(self.attachments)))
        piece_of = {
            switch: ("piece", number)
            for number, piece in enumerate(nx.connected_components(self.graph))
            for switch in piece
        }
        for number, ports in enumerate(self.attachments):
            joined.add_edges_from((number, piece_of[port.switch]) for port in ports)
        island = np.full(len(self.attachments) + 1, -1)
        for number, piece in enumerate(nx.connected_components(joined)):
            island[[each for each in piece if isinstance(each, int)]] = number
        found = island[self.of_gpu]
        alone = np.flatnonzero(self.of_gpu < 0)
        found[alone] = -1 - alone
        return found


@dataclass(frozen=True, eq=False)
class Fabric:
    """A cluster's networks.

    Attributes
    ----------
    scale_up, scale_out : Plane
        Two GPUs talk over the first that joins them.
    known : dict
        Loads that were found before, by `classes_of` each group.
    """

    scale_up: Plane
    scale_out: Plane
    known: dict[object, list[GroupLoad]] = field(default_factory=dict)

    @property
    def gpus(self) -> int:
        """GPUs, those that are out of use among them [GPU]."""
        return len(self.scale_up.of_gpu)

    def classes_of(self, gpus: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
        """How many GPUs of a group have which attachments: groups that agree load links alike."""
        chosen = np.asarray(gpus)
        planes = [plane.of_gpu[chosen] for plane in (self.scale_up, self.scale_out)]
        counts = Counter(zip(*(each.tolist() for each in planes), strict=True))
        return tuple((*each, count) for each, count in sorted(counts.items()))


class Cables(NamedTuple):
    """A bundle of equal cables between two switches.

    Attributes
    ----------
    inner, outer : tuple of (str, int)
        Nodes of the graph, the one nearer to the GPUs first.
    cables : int
        [1]
    rate : float
        Of one cable, one way. [B/s]
    latency : int
        [ps]
    kind : str
        Kind of link.
    """

    inner: Switch
    outer: Switch
    cables: int
    rate: float
    latency: int
    kind: LinkKind


def plane_of(
    kind: LinkKind,
    attachments: Sequence[Attachment],
    of_gpu: IntArray,
    cables: Iterable[Cables] = (),
) -> Plane:
    """Build a plane from the ports of GPUs and the cables between switches.

    Parameters
    ----------
    kind : {"nvlink", "nic"}
        What its ports are called.
    attachments : sequence of tuple of Port
        Distinct.
    of_gpu : array of int
        Attachment of each GPU; -1 for one that has none.
    cables : iterable of Cables
        At most one bundle between two switches.
    """
    graph: nx.Graph[Switch] = nx.Graph()
    graph.add_nodes_from(sorted({port.switch for ports in attachments for port in ports}))
    for bundle in sorted(cables):
        graph.add_edge(bundle.inner, bundle.outer, **dict(zip(_EDGE, bundle[2:], strict=True)))
    return Plane(kind, nx.freeze(graph), tuple(attachments), of_gpu)


_EDGE = Cables._fields[2:]
