"""What a group of GPUs that talk puts on every link of a fabric.

A group's traffic is a sum of flows, in each of which every source sends as much to every target.
Bytes are counted class by class, never GPU by GPU: GPUs with equal ports that are joined to the
same part of the scale-up network are one class.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from presets import InputError
from presets.errors import shown
from topology.fabric import Attachment, Fabric, Plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topology.routes import Hop, Routes, Switch

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


class Flow(NamedTuple):
    """Every source sends ``size`` bytes to every target other than itself.

    Attributes
    ----------
    sources, targets : sequence of int
        Numbers of GPUs, distinct in each.
    size : float
        [B]
    """

    sources: Sequence[int]
    targets: Sequence[int]
    size: float = 1.0


class End(NamedTuple):
    """All cables of a switch that GPUs hang on to the switches of one kind, one way."""

    switch: Switch
    other: int
    outwards: bool


@dataclass(frozen=True, eq=False)
class PlaneLoad:
    """Bytes that one group puts on one plane.

    Attributes
    ----------
    plane : Plane
    gpus : array of int
        Numbers of the group's GPUs, rising.
    sent, received : array of float
        By each GPU over each of its ports. Shape ``(gpus, ports)``. [B]
    ends : dict
        From `End` to bytes; of switches that are folded only. [B]
    transit : dict
        From a hop between two kinds of switch to the bytes on all its cables together, those of
        `ends` apart. [B]
    latencies : set of float
        Of paths that are taken. [ps]
    """

    plane: Plane
    gpus: IntArray
    sent: FloatArray
    received: FloatArray
    ends: dict[End, float] = field(default_factory=lambda: defaultdict(float))
    transit: dict[Hop, float] = field(default_factory=lambda: defaultdict(float))
    latencies: set[float] = field(default_factory=set)

    @property
    def port_seconds(self) -> FloatArray:
        """Time of each GPU's busiest port [s]."""
        rates = self.plane.port_rates[self.plane.of_gpu[self.gpus]]
        busiest = np.maximum(self.sent, self.received) / rates
        return np.asarray(busiest.max(axis=1, initial=0.0))


def loads_of(fabric: Fabric, flows: Sequence[Flow]) -> tuple[PlaneLoad, PlaneLoad]:
    """Find what one group's flows put on the scale-up network and on the fabric of the NICs.

    Raises
    ------
    InputError
        If a flow has no GPU, names one twice or one that is not there, or no link joins two.
    """
    for flow in flows:
        for each in flow[:2]:
            check_group(fabric, each)
    gpus = np.unique(np.concatenate([np.asarray(each) for flow in flows for each in flow[:2]]))
    near, far = (_empty(plane, gpus) for plane in (fabric.scale_up, fabric.scale_out))
    island = np.unique(fabric.scale_up.island_of[gpus], return_inverse=True)[1].reshape(-1)
    for flow in flows:
        sends, takes = (np.isin(gpus, np.asarray(each)).astype(float) for each in flow[:2])
        _inside(near, island, sends, takes, flow.size)
        if len(np.unique(island[(sends + takes) > 0])) > 1:
            _between(far, np.arange(len(gpus)), island, sends, takes, flow.size)
    return near, far


def check_group(fabric: Fabric, gpus: Sequence[int]) -> None:
    """Refuse a group that is empty or names a GPU twice or one that is not there.

    Raises
    ------
    InputError
        Saying which.
    """
    if not len(gpus):
        raise InputError("gpus: the group is empty; name at least one GPU")
    if len(set(gpus)) < len(gpus):
        raise InputError(f"gpus: {shown(tuple(gpus))} names a GPU twice")
    if not 0 <= min(gpus) <= max(gpus) < fabric.gpus:
        raise InputError(
            f"gpus: {shown(tuple(gpus))} is not within the cluster's GPUs, 0 to {fabric.gpus - 1}"
        )


def _empty(plane: Plane, gpus: IntArray) -> PlaneLoad:
    shape = len(gpus), plane.port_rates.shape[1]
    return PlaneLoad(plane, gpus, np.zeros(shape), np.zeros(shape))


def _inside(
    load: PlaneLoad, island: IntArray, sends: FloatArray, takes: FloatArray, size: float
) -> None:
    """Add what goes between GPUs that the scale-up network joins.

    Where one switch joins them all, as nearly everywhere, each has a port on it and no more.
    """
    ports, attachment = load.plane.attachments, load.plane.of_gpu[load.gpus]
    any_of = np.zeros(int(island.max()) + 1, dtype=np.int64)
    any_of[island] = attachment
    is_star = np.asarray(np.isinf(load.plane.port_rates[any_of, 1:]).all(axis=1))
    is_star[island[attachment != any_of[island]]] = False
    star = is_star[island] & (attachment >= 0)
    out = np.bincount(island, takes)[island] - takes  # to all others
    into = np.bincount(island, sends)[island] - sends
    load.sent[star, :1] += size * (sends * out)[star, None]
    load.received[star, :1] += size * (takes * into)[star, None]
    for number in np.unique(attachment[star & (sends * out > 0)]).tolist():
        load.latencies.add(2 * ports[number][0].latency)
    for number in np.flatnonzero(~is_star).tolist():
        members = np.flatnonzero(island == number)
        _between(load, members, members, sends[members], takes[members], size)


class _Classes(NamedTuple):
    """GPUs with equal ports and label."""

    attachments: list[Attachment]  # in use
    first: IntArray  # number of a GPU of each class
    of_gpu: IntArray  # class of each GPU
    place: IntArray  # of a class's ports in `attachments`
    label: IntArray
    sends: FloatArray  # sources of each class
    takes: FloatArray  # and targets


def _between(
    load: PlaneLoad,
    members: IntArray,
    label: IntArray,
    sends: FloatArray,
    takes: FloatArray,
    size: float,
) -> None:
    """Add what goes between GPUs of different labels.

    Pairs of attachments of two kinds take routes that differ in the switches at their ends alone,
    and are counted together, unless they have a switch in common.
    """
    classes = _classes(load.plane, load.gpus[members], label, sends, takes)
    kinds = _Kinds(load.plane.routes, classes.attachments)
    kind = kinds.of[classes.place]
    to, by = (_Reached(classes, kinds, each) for each in (classes.takes, classes.sends))
    tally = _Tally(load, classes, size)
    for one, other in np.ndindex(kinds.count, kinds.count):
        first, second = np.flatnonzero(kind == one), np.flatnonzero(kind == other)
        ends = kinds.example[one], kinds.example[other]
        tally.add(ends, (first, to.far[first, other]), (second, by.far[second, one]), apart=True)
        if one == other:  # on one attachment: no cable between switches
            tally.add(ends, (first, to.own[first]), (first, by.own[first]))
    for pair in kinds.near:
        first, second = (np.flatnonzero(classes.place == place) for place in pair)
        ends = classes.attachments[pair[0]], classes.attachments[pair[1]]
        tally.add(ends, (first, to.near(first, pair[1])), (second, by.near(second, pair[0])))
    load.sent[members] += size * sends[:, None] * tally.to[classes.of_gpu]
    load.received[members] += size * takes[:, None] * tally.by[classes.of_gpu]


def _classes(
    plane: Plane, gpus: IntArray, label: IntArray, sends: FloatArray, takes: FloatArray
) -> _Classes:
    labels = np.unique(label, return_inverse=True)[1].reshape(-1)
    key = (plane.of_gpu[gpus] + 1) * len(gpus) + labels
    keys, first, of_gpu = np.unique(key, return_index=True, return_inverse=True)
    of_gpu = of_gpu.reshape(-1)
    attachment, label = np.divmod(keys, len(gpus))
    used, place = np.unique(attachment - 1, return_inverse=True)
    return _Classes(
        attachments=[plane.attachments[each] if each >= 0 else () for each in used.tolist()],
        first=gpus[first],
        of_gpu=of_gpu,
        place=place.reshape(-1),
        label=label,
        sends=np.bincount(of_gpu, sends).astype(np.float64),
        takes=np.bincount(of_gpu, takes).astype(np.float64),
    )


class _Kinds:
    """Kinds of attachment, told apart by the kinds of their switches."""

    def __init__(self, routes: Routes, attachments: list[Attachment]) -> None:
        numbers: dict[object, int] = {}
        self.example: list[Attachment] = []
        kinds, on_switch = [], defaultdict(set)
        for place, ports in enumerate(attachments):
            alike = tuple((routes.kind_of[port.switch], port.latency) for port in ports)
            kinds.append(numbers.setdefault(alike, len(numbers)))
            if kinds[-1] == len(self.example):
                self.example.append(ports)
            for port in ports:
                on_switch[port.switch].add(place)
        self.of = np.array(kinds)
        self.count = len(self.example)
        together = (itertools.permutations(places, 2) for places in on_switch.values())
        self.near = sorted(set(itertools.chain.from_iterable(together)))


class _Reached:
    """How many GPUs of other labels each class reaches, or is reached by."""

    def __init__(self, classes: _Classes, kinds: _Kinds, weight: FloatArray) -> None:
        self._classes, self._weight = classes, weight
        kind = kinds.of[classes.place]
        by_label = np.zeros((int(classes.label.max()) + 1, kinds.count))
        np.add.at(by_label, (classes.label, kind), weight)
        self.own = np.bincount(classes.place, weight)[classes.place] - weight
        self.far = by_label.sum(axis=0) - by_label[classes.label]
        self.far[np.arange(len(kind)), kind] -= self.own
        for first, second in kinds.near:
            rows = np.flatnonzero(classes.place == first)
            self.far[rows, kinds.of[second]] -= self.near(rows, second)

    def near(self, rows: IntArray, place: int) -> FloatArray:
        """GPUs on one attachment that classes reach."""
        there = np.flatnonzero(self._classes.place == place)
        of_label = dict(zip(self._classes.label[there], self._weight[there], strict=True))
        same = [of_label.get(label, 0.0) for label in self._classes.label[rows]]
        return np.asarray(self._weight[there].sum() - np.array(same))


Side = tuple["IntArray", "FloatArray"]
"""Classes, and how many GPUs each reaches or is reached by."""


class _Tally:
    """Adds pairs of attachments to a load."""

    def __init__(self, load: PlaneLoad, classes: _Classes, size: float) -> None:
        self.load, self.classes, self.size = load, classes, size
        shape = len(classes.place), load.sent.shape[1]
        self.to, self.by = np.zeros(shape), np.zeros(shape)

    def add(
        self, ends: tuple[Attachment, Attachment], out: Side, into: Side, *, apart: bool = False
    ) -> None:
        """Add what classes of one attachment, or of its kind, send to those of another.

        `apart` says that they have no switch in common, though their examples may.
        """
        classes, routes = self.classes, self.load.plane.routes
        (first, reached), (second, reached_by) = out, into
        leaving, coming = classes.sends[first] * reached, classes.takes[second] * reached_by
        if not leaving.any():
            return
        latency, pairs = _port_pairs(routes, *ends, apart=apart)
        if math.isinf(latency):
            one, other = (
                classes.first[rows[np.flatnonzero(moved)[0]]]
                for rows, moved in ((first, leaving), (second, coming))
            )
            raise InputError(f"fabric: no link joins GPU {one} and GPU {other}")
        self.load.latencies.add(latency)
        for near, far in pairs:
            share = 1.0 / len(pairs)
            self.to[first, near] += share * reached
            self.by[second, far] += share * reached_by
            start, end = ends[0][near].switch, ends[1][far].switch
            if not apart and start == end:
                continue
            kinds = routes.kind_of[start], routes.kind_of[end]
            amount = self.size * share
            for hop, part in routes.shares(*kinds).items():
                if hop[0] == kinds[0] and routes.is_folded[hop[0]]:
                    self._end(first, near, hop[1], amount * part * leaving, outwards=True)
                elif hop[1] == kinds[1] and routes.is_folded[hop[1]]:
                    self._end(second, far, hop[0], amount * part * coming, outwards=False)
                else:
                    self.load.transit[hop] += amount * part * float(leaving.sum())

    def _end(
        self, rows: IntArray, port: int, other: int, moved: FloatArray, *, outwards: bool
    ) -> None:
        total = np.bincount(self.classes.place[rows], moved)
        for place in np.flatnonzero(total).tolist():
            switch = self.classes.attachments[place][port].switch
            self.load.ends[End(switch, other, outwards)] += float(total[place])


def _port_pairs(
    routes: Routes, first: Attachment, second: Attachment, *, apart: bool
) -> tuple[float, list[tuple[int, int]]]:
    """Least latency between two attachments [ps], and the pairs of their ports that have it."""
    latency = {
        (one, other): near.latency
        + far.latency
        + routes.latency(
            routes.kind_of[near.switch],
            routes.kind_of[far.switch],
            same=not apart and near.switch == far.switch,
        )
        for one, near in enumerate(first)
        for other, far in enumerate(second)
    }
    least = min(latency.values(), default=math.inf)
    return least, [pair for pair, each in latency.items() if each == least]
