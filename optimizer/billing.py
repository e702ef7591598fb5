"""What a deployment is charged for: the GPUs that serve, or whole NVLink domains."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from costmodel.inputs import BoolArray, IntArray
from optimizer.placement import NOBODY, Group, packs
from presets import ClusterSpec, InputError
from topology import pack_workers
from topology.cluster import read_layout
from topology.packing import Groups, domains_filled


class Bill(NamedTuple):
    """GPUs charged for replicas of one deployment that stand side by side.

    Attributes
    ----------
    replicas : int
        Copies of the deployment that share the domains. [1]
    prefill_gpus, decode_gpus : int
        GPUs of whole domains that they stand in. Where both roles share a cluster all of them
        count as decode. [GPU]
    used : int
        GPUs that serve, all replicas together. [GPU]
    """

    replicas: int
    prefill_gpus: int
    decode_gpus: int
    used: int

    @property
    def charged(self) -> int:
        """All GPUs that are paid."""
        return self.prefill_gpus + self.decode_gpus

    @property
    def stranded(self) -> int:
        """GPUs that are paid and do not serve."""
        return self.charged - self.used


def whole_domains(
    decode: Group,
    prefill: Group,
    cluster: ClusterSpec,
    prefill_cluster: ClusterSpec | None,
    prices: tuple[int, int],
    budget: int,
) -> Bill | None:
    """Pack as many replicas as make one cheapest, and charge the domains that they touch.

    Parameters
    ----------
    decode, prefill
        Workers of one replica.
    cluster, prefill_cluster
        Where decode stands, and prefill where that is elsewhere.
    prices
        Of one GPU of prefill and of decode. [1e-6 USD/h]
    budget
        Most GPUs that serve. [GPU]

    Returns
    -------
    Bill or None
        None where not even one replica finds room.

    Examples
    --------
    36 GPUs fill a domain of 72 twice; 44 strand 28.

    >>> from presets import default_cluster
    >>> rack = default_cluster("gb200", 72)
    >>> whole_domains((32, 1), (4, 1), rack, None, (1, 1), 72)
    Bill(replicas=2, prefill_gpus=0, decode_gpus=72, used=72)
    >>> whole_domains((32, 1), (4, 3), rack, None, (1, 1), 72).stranded
    28
    """
    one, other = _group(decode), _group(prefill)
    copies, charged = cheapest(one, other, cluster, prefill_cluster, prices, budget)
    if not charged.has_room:
        return None
    gpus = decode[0] * decode[1] + prefill[0] * prefill[1]
    return Bill(int(copies), int(charged.prefill), int(charged.decode), int(copies) * gpus)


class Charged(NamedTuple):
    """GPUs of whole domains, for many deployments at once.

    Attributes
    ----------
    prefill, decode : array of int
        Where both roles share a cluster all of them count as decode. [GPU]
    has_room : array of bool
        Whether the clusters have room for the workers.
    """

    prefill: IntArray
    decode: IntArray
    has_room: BoolArray

    @property
    def gpus(self) -> IntArray:
        """All that are paid [GPU]."""
        return self.prefill + self.decode


def charged_gpus(
    decode: Groups,
    prefill: Groups,
    cluster: ClusterSpec,
    prefill_cluster: ClusterSpec | None = None,
) -> Charged:
    """Count the GPUs of the fewest whole domains in which workers stand side by side.

    The last domain of a cluster that ends inside one is charged whole.

    Parameters
    ----------
    decode, prefill : tuple of array of int
        Sizes of workers [GPU] and how many, of all replicas.
    cluster, prefill_cluster
        Where decode stands, and prefill where that is elsewhere.
    """
    if prefill_cluster is None:
        here, fits = _in_domains(cluster, decode, prefill)
        return Charged(np.zeros_like(here), here, fits)
    here, fits = _in_domains(cluster, decode, _group(NOBODY))
    there, also = _in_domains(prefill_cluster, prefill, _group(NOBODY))
    return Charged(there, here, fits & also)


def cheapest(
    decode: Groups,
    prefill: Groups,
    cluster: ClusterSpec,
    prefill_cluster: ClusterSpec | None,
    prices: tuple[int, int],
    budget: int,
) -> tuple[IntArray, Charged]:
    """Replicas of each of many deployments that make one cheapest, and what all are charged.

    Arguments are those of `whole_domains`, with arrays of the sizes of workers and how many.
    """
    gpus = np.asarray(decode[0] * decode[1] + prefill[0] * prefill[1])
    copies = np.ones_like(gpus)
    best = charged_gpus(decode, prefill, cluster, prefill_cluster)
    best = best._replace(has_room=best.has_room & (gpus <= budget))
    for number in range(2, int(budget // gpus.min(initial=budget)) + 1):
        # Without a GPU stranded no number of replicas is cheaper.
        tried = best.has_room & (number * gpus <= budget) & (best.gpus > copies * gpus)
        if not tried.any():
            break
        many = (decode[0], decode[1] * number), (prefill[0], prefill[1] * number)
        found = charged_gpus(*many, cluster, prefill_cluster)
        better = tried & found.has_room
        better &= _paid(found, prices) / number < _paid(best, prices) / copies
        copies = np.where(better, number, copies)
        best = Charged(*(np.where(better, *pair) for pair in zip(found, best, strict=True)))
    return copies, best


def _in_unequal_domains(
    cluster: ClusterSpec, first: Groups, second: Groups
) -> tuple[IntArray, BoolArray]:
    """As `_in_domains`, by placing the workers of each deployment."""
    groups = np.broadcast_arrays(*first, *second)
    gpus = np.zeros(groups[0].shape, dtype=np.int64)
    for place in np.ndindex(gpus.shape):
        size, count, other, others = (int(each[place]) for each in groups)
        gpus[place] = _gpus_of_domains(cluster, (size, count), (other, others))
    return gpus, gpus > 0


@lru_cache(maxsize=65536)
def _gpus_of_domains(cluster: ClusterSpec, first: Group, second: Group) -> int:
    """GPUs of the domains that workers touch; 0 where they find no room [GPU]."""
    layout = read_layout(cluster)
    try:
        placed = pack_workers(cluster, [first[0]] * first[1] + [second[0]] * second[1])
    except InputError:
        return 0
    domains = {domain for worker in placed for domain in worker.domains}
    return sum(layout.domain_sizes[domain] for domain in domains)


def _paid(charged: Charged, prices: tuple[int, int]) -> IntArray:
    """Price of the GPUs that are charged [1e-6 USD/h]."""
    return charged.prefill * prices[0] + charged.decode * prices[1]


def _group(group: Group) -> Groups:
    return np.asarray(group[0]), np.asarray(group[1])


def _in_domains(cluster: ClusterSpec, first: Groups, second: Groups) -> tuple[IntArray, BoolArray]:
    """GPUs of the domains that workers fill, and whether the cluster has as many."""
    if not cluster.is_whole:
        return _in_unequal_domains(cluster, first, second)
    layout = read_layout(cluster)
    domains = domains_filled(layout, first, second)
    whole, rest = divmod(cluster.gpus, layout.gpus_per_domain)
    fits = np.array(domains <= whole)
    # Of a domain that the cluster ends inside, some may be enough.
    last = np.flatnonzero(domains == whole + 1) if rest else ()
    groups = [np.broadcast_to(each, domains.shape).ravel() for each in (*first, *second)]
    for place in last:
        size, count, other, others = (int(each[place]) for each in groups)
        fits.ravel()[place] = packs(cluster, (size, count), (other, others))
    return domains * layout.gpus_per_domain, fits
