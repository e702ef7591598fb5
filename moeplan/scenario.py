"""From options to what the rooms work with: a scenario, a cluster, a calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from costmodel.calibration import Calibration, load_calibration
from costmodel.results import Configuration, Scenario
from moeplan.numbers import LARGEST_GPUS, one_of, whole_number
from moeplan.numbers import price as checked_price
from moeplan.options import ENGINES, MAX_GPUS, Options
from presets import (
    ClusterSpec,
    InputError,
    default_cluster,
    load_cluster,
    load_hardware,
    load_model,
)
from presets.errors import shown
from presets.files import validated

if TYPE_CHECKING:
    from presets import Hardware, Model

PRECISIONS = ("fp4", "fp8", "bf16")
"""In the order in which they are preferred."""


def cluster_of(sku: str | None, options: Options, needed_gpus: int = 0) -> ClusterSpec:
    """Find the cluster of a question, at the price of the question.

    Parameters
    ----------
    sku : str or None
        Machine; None takes that of the cluster file.
    options : Options
        With the cluster, the price and the GPU budget.
    needed_gpus : int
        Least size of a cluster that no file describes. [GPU]

    Raises
    ------
    InputError
        Where no machine is named, or the file describes another one.
    """
    max_gpus = whole_number("max_gpus", options.max_gpus, 1, LARGEST_GPUS, "GPUs")
    if options.cluster is None:
        if sku is None:
            raise InputError("--sku: no machine is named; give --sku NAME or --cluster FILE")
        cluster = default_cluster(sku, max(MAX_GPUS, max_gpus, needed_gpus))
    else:
        given = options.cluster
        cluster = given if isinstance(given, ClusterSpec) else load_cluster(given)
        if sku is not None and load_hardware(sku).name != cluster.sku:
            raise InputError(
                f"--sku: {shown(sku)} is not the machine of the cluster, {cluster.sku!r}; "
                "leave one of the two out"
            )
    if options.price is None:
        return cluster
    price = checked_price("price", options.price)
    content = cluster.model_dump() | {"price_usd_per_hour": price}
    return validated(ClusterSpec, content)


def scenario_of(options: Options, cluster: ClusterSpec) -> Scenario:
    """Say what is served; unless named, the precision is the first that machine and model offer.

    Raises
    ------
    InputError
        Where a name is unknown, a length is out of range, or the precision is not offered.
    """
    model = load_model(options.model)
    precision = options.precision or preferred_precision(model, cluster.hardware())
    one_of("precision", precision, PRECISIONS)
    fields = {
        "model": model,
        "precision": precision,
        "isl": options.isl,
        "osl": options.osl,
        "engine": one_of("engine", options.engine, ENGINES),
    }
    return validated(Scenario, fields)


def preferred_precision(model: Model, hardware: Hardware) -> str:
    """Choose the first of `PRECISIONS` that model and machine offer.

    Examples
    --------
    >>> preferred_precision(load_model("deepseek-r1-0528"), load_hardware("h200"))
    'fp8'
    """
    for name in PRECISIONS:
        if getattr(model.precisions, name) and (name != "fp4" or hardware.flops_fp4):
            return name
    raise InputError(
        f"model: {model.name!r} is offered at no precision that {hardware.name} has; "
        "choose another machine"
    )


def calibration_of(options: Options) -> Calibration:
    """Load the calibration of a question."""
    return load_calibration(None if options.calibration is None else Path(options.calibration))


def gpus_needed(configuration: Configuration, sku: str | None) -> int:
    """Size a cluster that holds a configuration, each worker in whole NVLink domains [GPU]."""
    if sku is None:
        return configuration.gpus
    domain = int(load_hardware(sku).gpus_per_domain.value)
    largest = max(configuration.decode_gpus_per_worker, configuration.prefill_gpus_per_worker)
    return max(configuration.gpus, -(-largest // domain) * domain)
