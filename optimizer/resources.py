"""What deployments stand on: clusters, prices and power."""

from __future__ import annotations

from typing import NamedTuple

from optimizer.billing import Bill, Charged, charged_gpus, whole_domains
from optimizer.placement import NOBODY, Group, PlacedWorker, packs, place_workers
from presets import ClusterSpec
from topology.packing import Groups

MICRO = 1e-6
"""Prices count in millionths of a dollar, GPUs and watts where not whole in millionths too."""


class Resources(NamedTuple):
    """Where deployments stand.

    Attributes
    ----------
    cluster : ClusterSpec
        Of decode, and of prefill unless that has its own.
    prefill_cluster : ClusterSpec or None
        Of prefill where that stands on other machines.
    """

    cluster: ClusterSpec
    prefill_cluster: ClusterSpec | None = None

    @property
    def prefill_on(self) -> ClusterSpec:
        """The cluster of the prefill workers."""
        return self.prefill_cluster or self.cluster

    @property
    def gpus(self) -> int:
        """GPUs of the clusters [GPU]."""
        return self.cluster.gpus + (self.prefill_cluster.gpus if self.prefill_cluster else 0)

    @property
    def prices(self) -> tuple[int, int]:
        """Price of one GPU of prefill and of decode [1e-6 USD/h]."""
        prefill, decode = (
            max(1, round(on.hardware().price_usd_per_hour.value / MICRO))
            for on in (self.prefill_on, self.cluster)
        )
        return prefill, decode

    @property
    def watts(self) -> tuple[int, int]:
        """All-in power of one GPU of prefill and of decode [1e-6 W]."""
        prefill, decode = (
            round(on.hardware().power_watts.value / MICRO) for on in (self.prefill_on, self.cluster)
        )
        return prefill, decode

    def has_room(self, decode: Group, prefill: Group) -> bool:
        """Whether workers stand side by side."""
        if self.prefill_cluster is None:
            return packs(self.cluster, decode, prefill)
        here = packs(self.cluster, decode, NOBODY)
        return here and packs(self.prefill_cluster, prefill, NOBODY)

    def place(self, decode: Group, prefill: Group, replicas: int = 1) -> tuple[PlacedWorker, ...]:
        """Place workers as `has_room` and `bill` count on it, decode first.

        Raises
        ------
        InputError
            If they find no room.
        """
        if self.prefill_cluster is None:
            return place_workers(self.cluster, decode, prefill, replicas)
        return (
            *place_workers(self.cluster, decode, NOBODY, replicas),
            *place_workers(self.prefill_cluster, NOBODY, prefill, replicas),
        )

    def charged(self, decode: Groups, prefill: Groups) -> Charged:
        """Charge many deployments whole domains."""
        return charged_gpus(decode, prefill, self.cluster, self.prefill_cluster)

    def bill(self, decode: Group, prefill: Group, budget: int) -> Bill | None:
        """Charge whole domains; replicas take at most a budget of GPUs [GPU]."""
        return whole_domains(
            decode, prefill, self.cluster, self.prefill_cluster, self.prices, budget
        )
