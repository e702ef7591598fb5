"""What a deployment is charged for: the GPUs that serve, or whole NVLink domains."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from optimizer.placement import NOBODY, Group, packs
from presets import ClusterSpec


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
    gpus = decode[0] * decode[1] + prefill[0] * prefill[1]
    best: Bill | None = None
    for replicas in range(1, budget // gpus + 1):
        many = (decode[0], decode[1] * replicas)
        more = (prefill[0], prefill[1] * replicas)
        apart = prefill_cluster is not None
        here = charged_gpus(cluster, many, NOBODY if apart else more)
        there = charged_gpus(prefill_cluster, more, NOBODY) if prefill_cluster else 0
        if here is None or there is None:
            break
        bill = Bill(replicas, there, here, replicas * gpus)
        if best is None or _price(bill, prices) < _price(best, prices):
            best = bill
        if not bill.stranded:
            break
    return best


@lru_cache(maxsize=65536)
def charged_gpus(cluster: ClusterSpec, first: Group, second: Group) -> int | None:
    """GPUs of the fewest whole domains in which two groups of workers stand side by side.

    None where the cluster has no room for them. The last domain of a cluster that ends inside one
    is charged whole.
    """
    domain = int(cluster.hardware().gpus_per_domain.value)
    least = first[0] * first[1] + second[0] * second[1]
    for gpus in range(-(-least // domain) * domain, cluster.gpus + domain, domain):
        part = cluster.model_copy(update={"gpus": min(gpus, cluster.gpus)})
        if packs(part, first, second):
            return gpus
    return None


def _price(bill: Bill, prices: tuple[int, int]) -> float:
    """Price of one replica [1e-6 USD/h]."""
    return (bill.prefill_gpus * prices[0] + bill.decode_gpus * prices[1]) / bill.replicas
