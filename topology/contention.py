"""How long groups that talk at the same time take, and which link holds each of them up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from topology.cluster import LINK_KINDS, PICOSECOND
from topology.fabric import Fabric, Plane
from topology.loads import End, Flow, PlaneLoad, loads_of
from topology.routes import Hop

if TYPE_CHECKING:
    from topology.cluster import LinkKind
    from topology.routes import Switch

ROUNDING = 1e-12
"""Relative difference below which two loads are equal. [1]"""


class Link(NamedTuple):
    """A link that is loaded most.

    Attributes
    ----------
    kind : str
        Kind of link.
    name : str
        Its two ends, of links that are loaded alike the first.
    """

    kind: LinkKind
    name: str


@dataclass(frozen=True)
class GroupLoad:
    """What one group's traffic takes.

    Attributes
    ----------
    seconds : float
        Alone: the bytes on its worst link over the link's rate. [s]
    worst : Link or None
        That link, the one nearer to the GPU where two are equal; None where nothing moves.
    by_kind : dict
        Seconds of the worst link of each kind. [s]
    latency : float
        Of the longest path that is taken. [s]
    slowdown : float
        By which the others that talk lengthen it: what all ask of the fullest of its links over the
        link's rate, each group at the speed that it has alone; 1 where no link is asked for more
        than its rate. [1]
    shared : Link or None
        The fullest link, where there is such a slowdown.
    shared_with : tuple of int
        Other groups on that link, the one that asks most of it first.
    """

    seconds: float
    worst: Link | None
    by_kind: dict[LinkKind, float]
    latency: float
    slowdown: float = 1.0
    shared: Link | None = None
    shared_with: tuple[int, ...] = ()


class _Cables(NamedTuple):
    """Cables of one plane that are loaded alike: those of a switch, or all between two kinds."""

    plane: int
    part: End | Hop


def group_loads(fabric: Fabric, groups: Sequence[Sequence[Flow]]) -> list[GroupLoad]:
    """Find what groups take that talk at the same time.

    Parameters
    ----------
    fabric : Fabric
        The cluster.
    groups : sequence of sequence of Flow
        The flows of each.

    Returns
    -------
    list of GroupLoad
        One for each group.

    Raises
    ------
    InputError
        If a group is not valid; see `topology.loads.loads_of`.

    Notes
    -----
    Ports are those of one group each, as GPUs are. Where groups ask more of a cable than it
    carries, each gets a part in proportion to what it asks.
    """
    planes = fabric.scale_up, fabric.scale_out
    alone = [_Alone(loads_of(fabric, flows)) for flows in groups]
    asked, fullest = _asked(fabric, alone)
    total = {cables: _total(of_group) for cables, of_group in asked.items()}
    found = []
    for number, group in enumerate(alone):
        met = [fullest[cables] for cables in group.cables]
        full = max(met, key=total.__getitem__, default=None)
        if full is None or total[full] <= 1.0 + ROUNDING:
            found.append(group.load())
            continue
        shares = asked[full]
        others = sorted((each for each in shares if each != number), key=lambda at: -shares[at])
        link = _link(planes[full.plane], full.part)
        found.append(group.load(total[full], link, tuple(others)))
    return found


def link_use(fabric: Fabric, groups: Sequence[Sequence[Flow]]) -> LinkUse:
    """Find what groups that talk at the same time ask of links; arguments as of `group_loads`."""
    alone = [_Alone(loads_of(fabric, flows)) for flows in groups]
    asked, _ = _asked(fabric, alone)
    return LinkUse(fabric, {cables: _total(of_group) for cables, of_group in asked.items()})


class LinkUse:
    """What is asked of cables between switches, over what they carry; above 1 groups wait."""

    def __init__(self, fabric: Fabric, total: dict[_Cables, float]) -> None:
        self._fabric, self._total = fabric, total

    def of(self, first: Switch, second: Switch) -> float:
        """Larger use of the two directions of the cables between two switches; 0 without any."""
        found = [0.0]
        for number, plane in enumerate((self._fabric.scale_up, self._fabric.scale_out)):
            kinds = plane.routes.kind_of
            if first not in kinds or second not in kinds:
                continue
            for one, other in ((first, second), (second, first)):
                parts: list[End | Hop] = [(kinds[one], kinds[other])]
                parts += [End(one, kinds[other], True), End(other, kinds[one], False)]
                found += [self._total.get(_Cables(number, part), 0.0) for part in parts]
        return max(found)


def _asked(
    fabric: Fabric, alone: Sequence[_Alone]
) -> tuple[dict[_Cables, dict[int, float]], dict[_Cables, _Cables]]:
    """Use of cables by each group at its full speed, and the fullest of those that each meets."""
    planes = fabric.scale_up, fabric.scale_out
    asked: dict[_Cables, dict[int, float]] = defaultdict(dict)
    for number, group in enumerate(alone):
        for cables, seconds in group.cables.items():
            asked[cables][number] = seconds / group.seconds
    fullest = {cables: cables for cables in asked}
    for cables in list(asked):
        if not isinstance(cables.part, End):
            continue
        # Others may pass the switch; and who passes meets what starts or ends there.
        passed = _Cables(cables.plane, _hop(planes[cables.plane], cables.part))
        asked[cables] = {**asked.get(passed, {}), **asked[cables]}
        if passed in fullest and _total(asked[cables]) > _total(asked[fullest[passed]]):
            fullest[passed] = cables
    return asked, fullest


class _Alone:
    """Seconds that one group takes on each link by itself."""

    def __init__(self, loads: tuple[PlaneLoad, PlaneLoad]) -> None:
        self._by_kind: dict[LinkKind, float] = {}
        self._links: dict[LinkKind, Link] = {}
        self.cables: dict[_Cables, float] = {}
        self._latency = PICOSECOND * max((ps for each in loads for ps in each.latencies), default=0)
        for number, load in enumerate(loads):
            self._add_ports(load)
            for part, seconds in _cable_seconds(load).items():
                self.cables[_Cables(number, part)] = seconds
                self._add(_link(load.plane, part), seconds)
        self.seconds = max(self._by_kind.values(), default=0.0)

    def load(
        self, slowdown: float = 1.0, shared: Link | None = None, others: tuple[int, ...] = ()
    ) -> GroupLoad:
        """Say what the group takes among others."""
        least = self.seconds * (1.0 - ROUNDING)
        outwards = sorted(self._by_kind, key=LINK_KINDS.index)
        worst = (self._links[kind] for kind in outwards if self._by_kind[kind] >= least)
        return GroupLoad(
            seconds=self.seconds,
            worst=next(worst, None),
            by_kind=self._by_kind,
            latency=self._latency,
            slowdown=slowdown,
            shared=shared,
            shared_with=others,
        )

    def _add_ports(self, load: PlaneLoad) -> None:
        seconds = load.port_seconds
        if seconds.any():
            kind = load.plane.kind
            ports = load.plane.attachments[load.plane.of_gpu[load.gpus[seconds.argmax()]]]
            switch, number = ports[0].switch
            self._add(Link(kind, f"{_PORTS[kind]} on {switch} {number}"), seconds.max())

    def _add(self, link: Link, seconds: float) -> None:
        if seconds > self._by_kind.get(link.kind, 0.0) * (1.0 + ROUNDING):
            self._by_kind[link.kind] = float(seconds)
            self._links[link.kind] = link


_PORTS = {"nvlink": "port", "nic": "NIC"}


def _cable_seconds(load: PlaneLoad) -> dict[End | Hop, float]:
    """Time of one cable of each bundle that is loaded [s]."""
    routes = load.plane.routes
    found: dict[End | Hop, float] = {}
    for hop, moved in load.transit.items():
        bundle = routes.bundle(hop)
        cables = routes.size(hop[0]) * routes.size(hop[1]) * bundle.cables
        found[hop] = moved / (cables * bundle.rate)
    for end, moved in load.ends.items():
        hop = _hop(load.plane, end)
        bundle = routes.bundle(hop)
        own = moved / (routes.size(end.other) * bundle.cables * bundle.rate)
        found[end] = own + found.get(hop, 0.0)
    return found


def _hop(plane: Plane, end: End) -> Hop:
    """Kinds that cables join, the sender's first."""
    kind = plane.routes.kind_of[end.switch]
    return (kind, end.other) if end.outwards else (end.other, kind)


def _link(plane: Plane, part: End | Hop) -> Link:
    """Name the first of cables that are loaded alike."""
    routes = plane.routes
    if isinstance(part, End):
        hop, other = _hop(plane, part), routes.members[part.other][0]
        ends = (part.switch, other) if part.outwards else (other, part.switch)
    else:
        hop, ends = part, (routes.members[part[0]][0], routes.members[part[1]][0])
    first, second = (f"{kind} {number}" for kind, number in ends)
    return Link(routes.bundle(hop).kind, f"{first} to {second}")


def _total(of_group: dict[int, float]) -> float:
    return sum(of_group.values())
