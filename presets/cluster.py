"""The cluster that a user describes in a YAML file: a machine, how many, and what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, model_validator

from presets.facts import Alternative, Fact, Text
from presets.files import validated
from presets.hardware import Hardware, load_hardware
from presets.nics import NicName, load_nic
from presets.parts import KINDS, OF_GPUS, parts_of
from presets.scale_out import Amount, Gpus, ScaleOut, Strict

MAX_CABLES = 262_144
"""Most cables between leaf and spine switches: some 0.5 GB of graph. [1]"""

OVERRIDES = {
    "gpus_per_domain": ("gpus_per_domain", 1.0),
    "gpus_per_node": ("gpus_per_node", 1.0),
    "nvlink_gb_s": ("scale_up_rate", 1e9),
    "nvlink_latency_us": ("scale_up_latency", 1e-6),
    "nic_gb_s": ("scale_out_rate", 1e9),
    "nic_latency_us": ("scale_out_latency", 1e-6),
    "hbm_gb": ("hbm_bytes", 1e9),
    "price_usd_per_hour": ("price_usd_per_hour", 1.0),
    "power_watts": ("power_watts", 1.0),
}
"""Key of a cluster file: the fact that it overrides, and its factor to SI."""


UNITS = {
    "gpus": "GPU",
    "gpus_per_domain": "GPU",
    "gpus_per_node": "GPU",
    "nvlink_gb_s": "GB/s",
    "nvlink_latency_us": "us",
    "nic_gb_s": "GB/s",
    "nic_latency_us": "us",
    "hbm_gb": "GB",
    "price_usd_per_hour": "USD/h",
    "power_watts": "W",
}
"""Unit of each key of a cluster file that is a quantity."""


class ClusterSpec(Strict):
    """A cluster: a machine, how many GPUs, and what differs from what the machine has.

    Attributes
    ----------
    sku : str
        Name of the machine, of `hardware_names` or that of `machine`.
    machine : Hardware or None
        The machine where it is none of `hardware_names`.
    gpus : int
        Those out of use among them. [GPU]
    domains : tuple of int or None
        GPUs of each NVLink domain, where these differ. [GPU]
    reserved, failed : tuple of str
        What is out of use; see `presets.parts.parts_of`.
    name : str or None
        Name in print; that of the machine where None.
    gpus_per_domain, gpus_per_node : int or None
        [GPU]
    nvlink_gb_s, nic_gb_s : float or None
        One-direction rate per GPU. [GB/s]
    nvlink_latency_us, nic_latency_us : float or None
        One way. [us]
    nic : str or None
        Name of the NIC, of `nic_names`.
    hbm_gb : float or None
        [GB]
    price_usd_per_hour : float or None
        Per GPU. [USD/h]
    power_watts : float or None
        Per GPU. [W]
    scale_out : ScaleOut
        The fabric between NVLink domains.
    """

    sku: Text
    machine: Hardware | None = None
    gpus: Gpus
    domains: Annotated[tuple[Gpus, ...], Field(min_length=1, strict=False)] | None = None
    reserved: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    failed: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    name: Text | None = None
    gpus_per_domain: Gpus | None = None
    gpus_per_node: Gpus | None = None
    nvlink_gb_s: Amount | None = None
    nvlink_latency_us: Amount | None = None
    nic_gb_s: Amount | None = None
    nic_latency_us: Amount | None = None
    nic: NicName | None = None
    hbm_gb: Amount | None = None
    price_usd_per_hour: Amount | None = None
    power_watts: Amount | None = None
    scale_out: ScaleOut = ScaleOut()

    @model_validator(mode="before")
    @classmethod
    def _name_machine(cls, content: Any) -> Any:
        """Take the name of the machine where `sku` is left out."""
        machine = content.get("machine") if isinstance(content, dict) else None
        if isinstance(machine, Hardware) and "sku" not in content:
            return {**content, "sku": machine.name}
        return content

    @model_validator(mode="before")
    @classmethod
    def _count_domains(cls, content: Any) -> Any:
        """Take the GPUs of the domains together where a file leaves `gpus` out."""
        if isinstance(content, dict) and "gpus" not in content:
            sizes = content.get("domains")
            if isinstance(sizes, (list, tuple)) and all(type(each) is int for each in sizes):
                return {**content, "gpus": sum(sizes)}
        return content

    @model_validator(mode="after")
    def _agrees(self, info: ValidationInfo) -> Self:
        """Refuse the first of the faults, or note all of them in a list that is the context."""
        faults = list(self._faults())
        if isinstance(info.context, list):
            info.context.extend(faults)
        elif faults:
            raise ValueError(faults[0])
        return self

    def _faults(self) -> Iterator[str]:
        """Say what keys do not agree on, or name that is not there."""
        preset, fabric = self.preset, self.scale_out
        if preset.name != self.sku:
            yield f"sku: {self.sku!r} is not the machine, {preset.name!r}; leave out one of the two"
        domain = self.gpus_per_domain or int(preset.gpus_per_domain.value)
        node = self.gpus_per_node or int(preset.gpus_per_node.value)
        if domain % node and node % domain:
            yield (
                f"gpus_per_domain is {domain}; it must be a multiple of gpus_per_node, {node}, or "
                "divide it"
            )
        if self.domains is not None and sum(self.domains) != self.gpus:
            yield (
                f"domains: they hold {sum(self.domains)} GPUs and gpus is {self.gpus}; leave out "
                "one of the two, or make them agree"
            )
        leaves, pods = fabric.leaves(self.gpus), fabric.pods(self.gpus)
        cables = leaves * fabric.spines + pods * fabric.spines * fabric.cores
        if cables > MAX_CABLES:
            yield (
                f"scale_out: {leaves} leaf switches (gpus {self.gpus} over gpus_per_leaf "
                f"{fabric.gpus_per_leaf}) times spines {fabric.spines} are "
                f"{cables} cables; at most {MAX_CABLES} are held, "
                "so give more gpus_per_leaf or fewer spines"
            )
        yield from self._absent_parts()

    def _absent_parts(self) -> Iterator[str]:
        """Name parts out of use that the cluster has not."""
        counts = self._counts()
        for key, kinds in (("reserved", OF_GPUS), ("failed", (*KINDS, "uplink"))):
            try:
                parts = parts_of(getattr(self, key), kinds)
            except ValueError as error:
                yield f"{key}: {error}"
                continue
            for kind in KINDS:
                most = max(getattr(parts, kind), default=-1)
                if most >= counts[kind]:
                    yield (
                        f"{key}: there is no {kind} {most}; this cluster has {counts[kind]}, "
                        "numbered from 0"
                    )
            for leaf, spine in sorted(parts.uplink):
                if leaf >= counts["leaf"] or spine >= counts["spine"]:
                    yield (
                        f"{key}: there is no uplink {leaf}/{spine}; this cluster has "
                        f"{counts['leaf']} leaf and {counts['spine']} spine switches, numbered "
                        "from 0"
                    )

    def _counts(self) -> dict[str, int]:
        """Count the parts of each kind [1]."""
        preset, fabric = self.preset, self.scale_out
        domain = self.gpus_per_domain or int(preset.gpus_per_domain.value)
        node = self.gpus_per_node or int(preset.gpus_per_node.value)
        sizes = self.domains or ()
        return {
            "gpu": self.gpus,
            "nic": self.gpus,
            "server": sum(-(-size // node) for size in sizes) or -(-self.gpus // node),
            "domain": len(sizes) or -(-self.gpus // domain),
            "leaf": fabric.leaves(self.gpus),
            "spine": fabric.spines * fabric.pods(self.gpus),
            "core": fabric.cores * fabric.halls,
        }

    @property
    def preset(self) -> Hardware:
        """The machine without the overrides of this cluster."""
        return self.machine or load_hardware(self.sku)

    @property
    def is_whole(self) -> bool:
        """Whether domains are equal, but for the last, and nothing is out of use."""
        return self.domains is None and not self.reserved and not self.failed

    def resized(self, gpus: int) -> Self:
        """Give the cluster another size; one of equal domains where nothing is out of use [GPU]."""
        return self.model_copy(update={"gpus": gpus, "domains": None, "reserved": (), "failed": ()})

    def hardware(self) -> Hardware:
        """Give the machine with the overrides of this cluster.

        An overridden fact is of kind "assumed", its source is "cluster file", its date today's,
        and it keeps the figure of the preset as an alternative.
        """
        preset = self.preset
        changes: dict[str, object] = {"title": self.name} if self.name else {}
        if self.nic is not None:
            changes["nic"] = load_nic(self.nic)
        for key, (fact, factor) in OVERRIDES.items():
            value = getattr(self, key)
            if value is not None:
                changes[fact] = _overridden(getattr(preset, fact), value * factor)
        return preset.model_copy(update=changes) if changes else preset

    def assumed(self) -> dict[str, Fact]:
        """Facts of the machine that are assumed and that other sources have otherwise, by name.

        What the cluster itself says is known to who says it, and so none of these.
        """
        said = {fact for key, (fact, _) in OVERRIDES.items() if getattr(self, key) is not None}
        facts = {
            name: fact
            for name, fact in self.hardware().facts.items()
            if fact.kind == "assumed" and name not in said
        }
        return {
            name: fact
            for name, fact in facts.items()
            if any(other.value != fact.value for other in fact.alternatives)
        }

    def supposing(self, values: Mapping[str, float]) -> SupposedCluster:
        """Take facts of the machine to be otherwise, in SI units, by name.

        Examples
        --------
        >>> cluster = default_cluster("b200", 72).supposing({"scale_out_latency": 1.5e-6})
        >>> cluster.hardware().scale_out_latency.value
        1.5e-06
        """
        content = {name: getattr(self, name) for name in ClusterSpec.model_fields}
        return SupposedCluster(**content, supposed=tuple(sorted(values.items())))


class SupposedCluster(ClusterSpec):
    """A cluster as it would be were facts of its machine otherwise; no file describes one.

    Attributes
    ----------
    supposed : tuple of (str, float)
        Facts by name, with their values in SI units.
    """

    supposed: tuple[tuple[str, float], ...]

    def hardware(self) -> Hardware:
        """Machine of the cluster with the facts that are supposed."""
        return super().hardware().supposing(dict(self.supposed))


def in_unit_of_file(fact: str, value: float, unit: str) -> tuple[float, str]:
    """Give a fact in the unit that a cluster file has for it; one that it has not stays as it is.

    Examples
    --------
    >>> in_unit_of_file("scale_out_rate", 5e10, "B/s"), in_unit_of_file("hbm_rate", 8e12, "B/s")
    ((50.0, 'GB/s'), (8000000000000.0, 'B/s'))
    """
    for key, (name, factor) in OVERRIDES.items():
        if name == fact:
            return float(f"{value / factor:.9g}"), UNITS[key]
    return value, unit


def default_cluster(machine: str | Hardware, gpus: int) -> ClusterSpec:
    """Cluster of a machine as its preset, or the machine itself, has it.

    Parameters
    ----------
    machine : str or Hardware
        One of `hardware_names`, or a machine of one's own.
    gpus : int
        [GPU]

    Examples
    --------
    >>> default_cluster("gb200", 72).hardware().gpus_per_domain.value
    72.0
    """
    if isinstance(machine, Hardware):
        return validated(ClusterSpec, {"machine": machine, "gpus": gpus})
    return validated(ClusterSpec, {"sku": load_hardware(machine).name, "gpus": gpus})


def _overridden(fact: Fact, value: float) -> Fact:
    before = Alternative(
        value=fact.value, source=fact.source, date=fact.date, note="replaced by the cluster file"
    )
    return Fact(
        value=value,
        unit=fact.unit,
        source="cluster file",
        date=date.today(),
        kind="assumed",
        alternatives=(before, *fact.alternatives),
    )
