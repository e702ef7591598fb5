"""All presets by name: machines, prices, models and measurement tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costmodel.attention import kept_of_model
from costmodel.counts import model_arrays
from presets import (
    Fact,
    Hardware,
    Model,
    Nic,
    Precision,
    PriceSet,
    Provenance,
    active_parameters,
    allreduce_rows,
    alltoall_rows,
    engine_settings_rows,
    hardware_names,
    iso_rows,
    load_hardware,
    load_model,
    load_nic,
    load_prices,
    measurement_sources,
    model_names,
    nic_names,
    price_set_names,
    published_rows,
    serving_rows,
    total_parameters,
    unknown_name,
)
from presets.catalogue import is_path
from presets.record import Record

KEPT_AT = (1024, 8192, 131072)
"""Lengths at which `ModelPreset` says what a request keeps. [token]"""

TABLES: dict[str, Callable[[], Sequence[Record]]] = {
    "allreduce_latency": allreduce_rows,
    "alltoall_latency": alltoall_rows,
    "engine_settings": engine_settings_rows,
    "inferencex_2026-05-22": published_rows,
    "inferencex_2026-05-22_iso": iso_rows,
    "measured_serving": serving_rows,
}

EARLIER_KEYS = {
    "generation": "kernel_profile",
    "nvlink_rate": "scale_up_rate",
    "nvlink_latency": "scale_up_latency",
    "nic_rate": "scale_out_rate",
    "nic_latency": "scale_out_latency",
}
"""Keys of a machine's JSON, which are only added to: field of `Hardware` that each is of."""

Line = dict[str, Any]


@dataclass(frozen=True)
class HardwarePreset:
    """A machine and its facts."""

    hardware: Hardware

    @property
    def facts(self) -> dict[str, Fact]:
        """Facts by name."""
        return self.hardware.facts

    def content(self) -> Line:
        """Everything, for JSON; what has another name today stands under the earlier one too."""
        content = self.hardware.model_dump(mode="json")
        rates = {f"flops_{name}": rate for name, rate in content["flops"].items()}
        earlier = {name: content[now] for name, now in EARLIER_KEYS.items()}
        return content | {"flops_fp4": None} | rates | earlier

    def lines(self) -> list[Line]:
        """One line per fact, alternatives left out."""
        return [{"name": name} | fact_line(fact) for name, fact in self.facts.items()]


@dataclass(frozen=True)
class NicPreset:
    """A NIC and what crossing its fabric costs."""

    nic: Nic

    @property
    def facts(self) -> dict[str, Fact]:
        """Facts by name."""
        return self.nic.facts

    def content(self) -> Line:
        """Everything, for JSON."""
        return self.nic.model_dump(mode="json")

    def lines(self) -> list[Line]:
        """One line per fact, alternatives left out."""
        return [{"name": name} | fact_line(fact) for name, fact in self.facts.items()]


@dataclass(frozen=True)
class PricePreset:
    """A set of prices, by machine."""

    prices: PriceSet

    @property
    def facts(self) -> dict[str, Fact]:
        """Price by machine."""
        return dict(self.prices.prices)

    def content(self) -> Line:
        """Everything, for JSON."""
        return self.prices.model_dump(mode="json")

    def lines(self) -> list[Line]:
        """One line per machine and buyer."""
        lines = []
        for name, fact in self.facts.items():
            others = [
                fact.model_copy(update=dict(each) | {"alternatives": ()})
                for each in fact.alternatives
            ]
            lines += [{"name": name} | fact_line(each) for each in (fact, *others)]
        return lines


@dataclass(frozen=True)
class ModelPreset:
    """A model: its architecture, and the precisions it is offered at."""

    model: Model

    @property
    def architecture(self) -> Line:
        """Counts by name, those of groups of layers by their path; what is none is left out."""
        values = self.model.model_dump(
            mode="json", include={"hidden", "vocab", "tied_embeddings", "groups", "draft"}
        )
        counted = {
            "parameters": total_parameters(self.model),
            "active_parameters": active_parameters(self.model),
        }
        return dict(_leaves(values)) | counted

    @property
    def kept(self) -> dict[str, dict[str, float]]:
        """Cache and state of a request of some tokens, at each precision [B]."""
        counts = {name: model_arrays(self.model, name) for name in self.precisions}
        return {
            name: {
                str(tokens): float(kept_of_model(each, np.asarray(tokens))) for tokens in KEPT_AT
            }
            for name, each in counts.items()
        }

    @property
    def precisions(self) -> dict[str, Precision]:
        """Precisions by name."""
        found = dict(self.model.precisions)
        return {name: value for name, value in found.items() if value is not None}

    def content(self) -> Line:
        """Everything, for JSON."""
        counted = {name: self.architecture[name] for name in ("parameters", "active_parameters")}
        return self.model.model_dump(mode="json") | counted | {"kept_bytes": self.kept}

    def lines(self) -> list[Line]:
        """One line per count, and per part of each precision."""
        lines = [
            {"name": name, "value": value, "unit": "1"} | provenance_line(self.model.provenance)
            for name, value in self.architecture.items()
        ]
        if self.model.published_parameters:
            lines.append(
                {"name": "published_parameters"} | fact_line(self.model.published_parameters)
            )
        for name, precision in self.precisions.items():
            lines += [
                {"name": f"{name}.kept_bytes.{tokens}", "value": kept, "unit": "B"}
                | provenance_line(precision)
                for tokens, kept in self.kept[name].items()
            ]
            lines += [
                {"name": f"{name}.{part}", "value": bits, "unit": "bit"}
                | provenance_line(precision)
                for part, bits in bits_of(precision).items()
            ]
        return lines


@dataclass(frozen=True)
class TablePreset:
    """A measurement table and where it comes from."""

    name: str
    provenance: Provenance
    rows: tuple[Record, ...]

    def content(self) -> Line:
        """Everything, for JSON."""
        return {
            "name": self.name,
            **self.provenance.model_dump(mode="json"),
            "rows": [row.model_dump(mode="json") for row in self.rows],
        }

    def lines(self) -> list[Line]:
        """One line per row; several values of one cell with blanks between."""
        return [
            {
                name: " ".join(map(str, value)) if isinstance(value, list) else value
                for name, value in row.model_dump(mode="json").items()
            }
            for row in self.rows
        ]


Preset = HardwarePreset | NicPreset | PricePreset | ModelPreset | TablePreset


def preset_of(name: str) -> Preset:
    """Find a preset by name.

    Raises
    ------
    UnknownNameError
        Where no preset has the name; the closest is offered.
    """
    if name in hardware_names():
        return HardwarePreset(load_hardware(name))
    if name in nic_names():
        return NicPreset(load_nic(name))
    if name in price_set_names():
        return PricePreset(load_prices(name))
    if name in model_names() or is_path(name):
        return ModelPreset(load_model(name))
    if name in TABLES:
        return TablePreset(name, measurement_sources()[name], tuple(TABLES[name]()))
    valid = [*hardware_names(), *nic_names(), *price_set_names(), *model_names(), *TABLES]
    raise unknown_name("preset", name, valid)


def machine_toml(name: str) -> str:
    """Write a machine as a file for --machine.

    Raises
    ------
    UnknownNameError
        Where no machine has the name.
    """
    from presets.machine_file import machine_text  # rarely asked for

    return machine_text(load_hardware(name))


def listing() -> dict[str, list[dict[str, str]]]:
    """Name and one line on each preset, by kind."""
    hardware = [load_hardware(name) for name in hardware_names()]
    models = [load_model(name) for name in model_names()]
    sources = measurement_sources()
    return {
        "hardware": [
            {
                "name": machine.name,
                "what": f"{machine.title}, {machine.gpus_per_domain.value:.0f} GPUs joined",
            }
            for machine in hardware
        ],
        "nics": [{"name": each.name, "what": each.title} for each in map(load_nic, nic_names())],
        "prices": [
            {"name": each.name, "what": each.title} for each in map(load_prices, price_set_names())
        ],
        "models": [
            {
                "name": model.name,
                "what": f"{model.title}, {model.experts} experts, "
                + "/".join(ModelPreset(model).precisions),
            }
            for model in models
        ],
        "measurements": [
            {"name": name, "what": f"{len(TABLES[name]())} rows: {sources[name].source}"}
            for name in TABLES
        ],
    }


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Name what stands in nested tables and lists by its path, from 1; nothing for none."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for place, each in enumerate(value, start=1):
            yield from _leaves(each, f"{path}.{place}")
    elif value is not None:
        yield path, value


def fact_line(fact: Fact) -> Line:
    """Write a fact by its columns."""
    return {"value": fact.value, "unit": fact.unit} | provenance_line(fact)


def provenance_line(provenance: Fact | Provenance) -> Line:
    """Write kind, date, source and note by column."""
    return {
        "kind": provenance.kind,
        "date": provenance.date.isoformat(),
        "source": provenance.source,
        "note": provenance.note,
    }


def bits_of(precision: Precision) -> dict[str, float]:
    """Give bits per weight by part of the model."""
    return {
        name: value for name, value in dict(precision).items() if isinstance(value, int | float)
    }
