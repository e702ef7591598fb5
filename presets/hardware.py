"""Machines: what one GPU of each offers, and how many share which link."""

from functools import lru_cache
from typing import Literal

from presets.errors import unknown_name
from presets.facts import Fact, Text
from presets.files import DATA, data_names, read_preset
from presets.prices import load_prices
from presets.record import Record


class Hardware(Record):
    """One machine. Figures are per GPU and links one-direction.

    Attributes
    ----------
    name, title : str
        Name of the preset, and the name in print.
    generation : {"hopper", "blackwell"}
        Generation of the GPU.
    gpus_per_domain : Fact
        GPUs that reach each other over NVLink. [GPU]
    gpus_per_node : Fact
        GPUs of one server or tray. [GPU]
    nvlink_rate : Fact
        [B/s]
    nvlink_latency : Fact
        One way, GPU to GPU through the switch. [s]
    nic_rate : Fact
        Scale-out rate. [B/s]
    nic_latency : Fact
        One way, GPU to GPU through NIC, switch and NIC. [s]
    hbm_bytes : Fact
        Memory. [B]
    hbm_rate : Fact
        Memory rate. [B/s]
    flops_bf16, flops_fp8, flops_fp4 : Fact
        Dense tensor rate; `flops_fp4` is None where the GPU has no FP4. [FLOP/s]
    price_usd_per_hour : Fact
        That of the file; where it gives none, that of the newest set of prices. [USD/h]
    power_watts : Fact
        All-in provisioned. [W]
    """

    name: Text
    title: Text
    generation: Literal["hopper", "blackwell"]
    gpus_per_domain: Fact
    gpus_per_node: Fact
    nvlink_rate: Fact
    nvlink_latency: Fact
    nic_rate: Fact
    nic_latency: Fact
    hbm_bytes: Fact
    hbm_rate: Fact
    flops_bf16: Fact
    flops_fp8: Fact
    flops_fp4: Fact | None = None
    price_usd_per_hour: Fact
    power_watts: Fact


@lru_cache
def hardware_names() -> tuple[str, ...]:
    """List the machines that are known.

    Examples
    --------
    >>> hardware_names()
    ('b200', 'b300', 'gb200', 'gb300', 'h100', 'h200')
    """
    return data_names("hardware")


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
    >>> load_hardware("b200").nic_rate.value / 1e9
    50.0
    """
    if name not in hardware_names():
        raise unknown_name("hardware", name, hardware_names())
    price = load_prices().prices.get(name)
    return read_preset(
        DATA / "hardware" / f"{name}.toml",
        Hardware,
        facts_key="facts",
        defaults={} if price is None else {"price_usd_per_hour": price},
    )
