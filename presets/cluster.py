"""The cluster that a user describes in a YAML file: a machine, how many, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from presets.errors import DataFileError, closest_hint, shown
from presets.facts import Alternative, Fact, Text
from presets.files import validated
from presets.hardware import Hardware, hardware_names, load_hardware
from presets.quantities import note_unusual, read_quantities
from presets.record import Record

Gpus = Annotated[int, Field(ge=1, le=65_536)]
Amount = Annotated[float, Field(ge=1e-3, le=1e6)]
"""In the units of a cluster file: wide of all that is sold, and no figure overflows."""

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


_COUNTS = ("gpus_per_domain", "gpus_per_node")

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

SCALE_OUT_UNITS = {"gpus_per_leaf": "GPU", "spines": "switch"}


class _Strict(Record):
    """A record that takes a value only in its own type: no number from text."""

    model_config = ConfigDict(strict=True)


class ScaleOut(_Strict):
    """The fabric between NVLink domains: leaf switches under spines.

    Attributes
    ----------
    gpus_per_leaf : int
        GPUs whose NICs share a leaf switch. [GPU]
    spines : int
        Spine switches. [1]
    oversubscription : float
        NIC rate below a leaf over its rate to the spines, 1 or more. [1]
    """

    gpus_per_leaf: Gpus = 32
    spines: Annotated[int, Field(ge=1, le=1024)] = 4
    oversubscription: Annotated[float, Field(ge=1, le=1024)] = 1.0


class ClusterSpec(_Strict):
    """A cluster: a machine of `hardware_names`, how many GPUs, and what differs from the preset.

    Attributes
    ----------
    sku : str
        Name of the machine.
    gpus : int
        [GPU]
    name : str or None
        Name in print; that of the machine where None.
    gpus_per_domain, gpus_per_node : int or None
        [GPU]
    nvlink_gb_s, nic_gb_s : float or None
        One-direction rate per GPU. [GB/s]
    nvlink_latency_us, nic_latency_us : float or None
        One way. [us]
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
    gpus: Gpus
    name: Text | None = None
    gpus_per_domain: Gpus | None = None
    gpus_per_node: Gpus | None = None
    nvlink_gb_s: Amount | None = None
    nvlink_latency_us: Amount | None = None
    nic_gb_s: Amount | None = None
    nic_latency_us: Amount | None = None
    hbm_gb: Amount | None = None
    price_usd_per_hour: Amount | None = None
    power_watts: Amount | None = None
    scale_out: ScaleOut = ScaleOut()

    @model_validator(mode="after")
    def _servers_fill_domains(self) -> Self:
        """Refuse servers that straddle NVLink domains, and domains that split a server."""
        preset = load_hardware(self.sku)
        domain = self.gpus_per_domain or int(preset.gpus_per_domain.value)
        node = self.gpus_per_node or int(preset.gpus_per_node.value)
        if domain % node:
            raise ValueError(
                f"gpus_per_domain is {domain}; it must be a multiple of gpus_per_node, {node}"
            )
        return self

    @model_validator(mode="after")
    def _cables_can_be_held(self) -> Self:
        fabric = self.scale_out
        leaves = -(-self.gpus // fabric.gpus_per_leaf)
        if leaves * fabric.spines > MAX_CABLES:
            raise ValueError(
                f"scale_out: {leaves} leaf switches (gpus {self.gpus} over gpus_per_leaf "
                f"{fabric.gpus_per_leaf}) times spines {fabric.spines} are "
                f"{leaves * fabric.spines} cables; at most {MAX_CABLES} are held, "
                "so give more gpus_per_leaf or fewer spines"
            )
        return self

    def hardware(self) -> Hardware:
        """Machine of the preset with the overrides of this cluster.

        An overridden fact is of kind "assumed", its source is "cluster file", its date today's,
        and it keeps the figure of the preset as an alternative.
        """
        preset = load_hardware(self.sku)
        changes: dict[str, object] = {"title": self.name} if self.name else {}
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


def default_cluster(sku: str, gpus: int) -> ClusterSpec:
    """Cluster of a machine as its preset has it.

    Parameters
    ----------
    sku : str
        One of `hardware_names`.
    gpus : int
        [GPU]

    Examples
    --------
    >>> default_cluster("gb200", 72).hardware().gpus_per_domain.value
    72.0
    """
    return validated(ClusterSpec, {"sku": load_hardware(sku).name, "gpus": gpus})


def load_cluster(path: str | Path) -> ClusterSpec:
    """Read a cluster file.

    Parameters
    ----------
    path : str or Path
        A YAML file of at most `MAX_BYTES`, without aliases.

    Raises
    ------
    DataFileError
        Where the file is malformed, or a key is unknown, missing or out of range.
    """
    # Most questions name a machine: the YAML library is loaded for a file only.
    from presets.yaml_file import read_yaml

    path = Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DataFileError("must hold keys and values, such as 'sku: b200'", path)
    sku = content.get("sku")
    if isinstance(sku, str) and sku not in hardware_names():
        hint = closest_hint(sku, hardware_names())
        raise DataFileError(f"{shown(sku)} is no known machine; {hint}", path, key="sku")
    content = read_quantities(content, UNITS, path)
    if isinstance(fabric := content.get("scale_out"), dict):
        content["scale_out"] = read_quantities(fabric, SCALE_OUT_UNITS, path, "scale_out")
    spec = validated(ClusterSpec, content, path)
    for key, (fact, factor) in OVERRIDES.items():
        if getattr(spec, key) is not None and fact not in _COUNTS:
            sold = [load_hardware(name).facts[fact].value for name in hardware_names()]
            usual = min(sold) / factor, max(sold) / factor
            note_unusual(f"{path}, key {key}", getattr(spec, key), UNITS[key], usual)
    return spec


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
