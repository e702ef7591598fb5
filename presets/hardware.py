"""Machines: what one GPU of each offers, and how many share which link."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, Self

from pydantic import model_validator

from presets.errors import unknown_name
from presets.facts import Fact, Text
from presets.files import read_preset
from presets.folders import data_files
from presets.frozen import Frozen, FrozenDict
from presets.machine_facts import (
    Count,
    Latency,
    Memory,
    NumberFormat,
    Power,
    Price,
    Rate,
    TensorRate,
)
from presets.nics import Nic, NicOf
from presets.prices import load_prices
from presets.record import Record


class Hardware(Record):
    """One machine. Figures are per GPU and links one-direction.

    Attributes
    ----------
    name, title : str
        Name of the preset, and the name in print.
    kernel_profile : str
        Family of chips that run the same kernels equally well, such as "hopper", "blackwell",
        "cdna3" or "cdna4"; constants of the cost model may be its own.
    scale_up : {"switch", "mesh", "torus"}
        How the GPUs of a domain are joined: through switches that give each its full rate to any
        other, each to each by a link of its own, or each to its neighbours of a grid of three
        dimensions, as near to a cube as the domain allows, whose ends are joined.
    note : str
        What a reader has to know of the machine, such as whose kernels it borrows.
    attention_format : str
        Number format in which kernels multiply attention over a cache of as few bits; what is wider
        is multiplied in BF16.
    gpus_per_domain : Fact
        GPUs that reach each other over the scale-up network. [GPU]
    gpus_per_node : Fact
        GPUs of one server or tray. [GPU]
    scale_up_rate : Fact
        To all other GPUs of a domain together. [B/s]
    scale_up_latency : Fact
        One way, GPU to GPU. [s]
    scale_out_rate : Fact
        Of the NIC. [B/s]
    scale_out_latency : Fact
        One way, GPU to GPU through NIC, switch and NIC. [s]
    hbm_bytes : Fact
        Memory. [B]
    hbm_rate : Fact
        Memory rate. [B/s]
    flops : dict of Fact
        Dense tensor rate by number format, BF16 at least; one that is not there cannot be
        multiplied in. [FLOP/s]
    price_usd_per_hour : Fact
        That of the file; where it gives none, that of the newest set of prices. [USD/h]
    power_watts : Fact
        All-in provisioned. [W]
    nic : Nic
        What crossing the fabric between domains costs; a file names it, and where it does not,
        it is ConnectX-7 under RoCE.
    """

    name: Text
    title: Text
    kernel_profile: Text
    scale_up: Literal["switch", "mesh", "torus"]
    note: str = ""
    attention_format: NumberFormat = "bf16"
    gpus_per_domain: Count
    gpus_per_node: Count
    scale_up_rate: Rate
    scale_up_latency: Latency
    scale_out_rate: Rate
    scale_out_latency: Latency
    hbm_bytes: Memory
    hbm_rate: Rate
    flops: Frozen[NumberFormat, TensorRate]
    price_usd_per_hour: Price
    power_watts: Power
    nic: NicOf

    @model_validator(mode="after")
    def _multiplies_in_bf16(self) -> Self:
        if "bf16" not in self.flops:
            raise ValueError("flops: bf16 is missing; all that is not quantised multiplies in it")
        if self.attention_format not in self.flops:
            raise ValueError(
                f"attention_format: {self.attention_format!r} has no rate under flops; give one of "
                f"{', '.join(self.flops)}"
            )
        return self

    @property
    def facts(self) -> dict[str, Fact]:
        """Facts by name, tensor rates as "flops_bf16" and those of the NIC as "nic_..."."""
        found: dict[str, Fact] = {}
        for name, value in self:
            if isinstance(value, Fact):
                found[name] = value
            elif isinstance(value, dict):
                found |= {f"{name}_{key}": fact for key, fact in value.items()}
            elif isinstance(value, Nic):
                found |= {f"{name}_{key}": fact for key, fact in value.facts.items()}
        return found

    def supposing(self, values: Mapping[str, float]) -> Self:
        """Take facts to be otherwise, by their names in `facts` and in their units."""
        facts = {
            name: self.facts[name].model_copy(update={"value": value})
            for name, value in values.items()
        }
        rates = {key: facts.pop(f"flops_{key}", rate) for key, rate in self.flops.items()}
        crossing = {key: facts.pop(f"nic_{key}", fact) for key, fact in self.nic.facts.items()}
        nic = self.nic.model_copy(update=crossing)
        return self.model_copy(update={**facts, "flops": FrozenDict(rates), "nic": nic})


@lru_cache
def hardware_names() -> tuple[str, ...]:
    """List the machines that are known.

    Examples
    --------
    >>> hardware_names()  # doctest: +ELLIPSIS
    ('b200', 'b300', 'gb200', 'gb300', 'h100', 'h20', 'h200', 'h800', 'mi300x', 'mi325x', ...
    """
    return tuple(data_files("hardware"))


@lru_cache
def load_hardware(name: str) -> Hardware:
    """Load a machine by name.

    Parameters
    ----------
    name : str
        One of `hardware_names`.

    Raises
    ------
    UnknownNameError
        Where no machine has the name.

    Examples
    --------
    >>> load_hardware("b200").scale_out_rate.value / 1e9
    50.0
    """
    if name not in hardware_names():
        raise unknown_name("hardware", name, hardware_names())
    price = load_prices().prices.get(name)
    return read_preset(
        data_files("hardware")[name],
        Hardware,
        facts_key="facts",
        defaults={} if price is None else {"price_usd_per_hour": price},
    )
