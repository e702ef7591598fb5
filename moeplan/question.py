"""From options to what the rooms work with: a question, and the problem that it poses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from costmodel.calibration import CalibrationFile
from costmodel.calibration_file import read_calibration, shipped_calibration
from costmodel.counts import can_multiply
from costmodel.engine_rules import check_machine
from costmodel.results import Configuration, Scenario
from moeplan.numbers import rates_or_length
from moeplan.options import MAX_GPUS, PRECISIONS, Options, checked, entries, read_options
from presets import (
    ClusterPools,
    ClusterSpec,
    Hardware,
    InputError,
    InputWarning,
    default_cluster,
    hardware_names,
    load_hardware,
    load_machine,
    load_model,
    load_prices,
    price_set_names,
    read_cluster,
)
from presets.catalogue import is_path
from presets.cluster_file import pool_of
from presets.drafts import draft_model, rate_of_length
from presets.errors import shown, unknown_name
from presets.files import validated
from presets.pools import Serving
from presets.record import Record
from presets.scale_out import MAX_GPUS as LARGEST_CLUSTER

if TYPE_CHECKING:
    from optimizer.placement import Group  # predictions on a described cluster need no packing
    from optimizer.problem import Problem
    from optimizer.space import Space
    from presets import Model

MODES: tuple[Serving, ...] = ("disaggregated", "aggregated")
"""Serving modes, in the order in which they are tried."""

SHIPPED = "shipped"
"""Name of the calibration that comes with the package."""


class Question(NamedTuple):
    """What is asked of a machine, checked and looked up; every answer keeps it.

    Attributes
    ----------
    options : Options
        As given, checked.
    scenario : Scenario
        What is served.
    cluster : ClusterSpec
        On what; where prefill has its own cluster, decode alone.
    prefill_cluster : ClusterSpec or None
        Where prefill stands, if not on `cluster`.
    constants : CalibrationFile
        Of the cost model, with what is uncertain about them.
    """

    options: Options
    scenario: Scenario
    cluster: ClusterSpec
    prefill_cluster: ClusterSpec | None
    constants: CalibrationFile

    @property
    def sku(self) -> str:
        """The machine, of decode where prefill has its own."""
        return self.cluster.sku

    @property
    def price_set(self) -> str | None:
        """Name of the set that the price is of; None for a price of one's own."""
        return _set_of(self.cluster.sku, price_of(self.cluster), self.options.prices)

    @property
    def prefill_price_set(self) -> str | None:
        """The same of the machine of prefill."""
        there = self.prefill_cluster
        return _set_of(there.sku, price_of(there), self.options.prices) if there else self.price_set

    @property
    def objective(self) -> str:
        """What is made best; with a rate to serve, unless named, the GPUs that it takes."""
        return self.options.objective or ("cost" if self.options.rate is None else "gpus")

    @property
    def modes(self) -> tuple[Serving, ...]:
        """Serving modes that are asked about."""
        asked = self.options.serving
        return tuple(mode for mode in MODES if asked in (mode, "either"))

    def problem(
        self, target: float, space: Space | None = None, serving: Serving | None = None
    ) -> Problem:
        """Pose the question as a problem, at an interactivity [token/s].

        `serving` is one of `modes`; None takes the first.

        Raises
        ------
        InputError
            Where a limit is not valid, or options do not go together.
        """
        # Imported here: predictions need no search.
        from optimizer.objective import Objective
        from optimizer.problem import Limits, Problem
        from optimizer.space import Space

        options = self.options
        return Problem(
            self.scenario,
            self.cluster,
            Limits(
                target,
                options.max_gpus,
                options.max_ttft,
                options.concurrency,
                options.min_confidence,
                options.within_data,
            ),
            self.constants.calibration,
            space or Space(),
            Objective(self.objective, options.billing, options.rate),  # type: ignore[arg-type]
            self.prefill_cluster,
            serving or self.modes[0],
        )

    def to_json(self) -> dict[str, Any]:
        """All that was asked, by the keys of the options; what had no value has the one it got."""
        options, there = self.options, self.prefill_cluster
        given, machine = options.cluster, options.machine
        resolved = {
            "precision": self.scenario.precision,
            "objective": self.objective,
            "price": price_of(self.cluster),
            "prefill_price": price_of(there) if there else None,
            "prices": self.price_set or self.prefill_price_set,
            "machine": machine.to_json() if isinstance(machine, Hardware) else None,
            "cluster": given.to_json() if isinstance(given, Record) else None,
            "calibration": str(options.calibration or SHIPPED),
        }
        values = {
            option.key: resolved.get(name, getattr(options, name)) for name, option, _ in entries()
        }
        return {"sku": self.sku} | values


def ask(sku: str | None, options: Options, needed_gpus: int = 0) -> Question:
    """Check what is asked, and look up what it names.

    Parameters
    ----------
    sku : str or None
        Machine; None takes that of the cluster in the options.
    options : Options
        Model, workload, limits, price and files.
    needed_gpus : int
        Least size of a cluster that no file describes. [GPU]

    Raises
    ------
    InputError
        Where something asked for is not valid.
    """
    options = checked(options)
    cluster = cluster_of(sku, options, needed_gpus)
    prefill_cluster = prefill_cluster_of(cluster, options, needed_gpus)
    scenario = scenario_of(options, cluster, prefill_cluster)
    constants = calibration_file(options.calibration)
    return Question(options, scenario, cluster, prefill_cluster, constants)


def question_from_json(content: Mapping[str, Any]) -> Question:
    """Ask again what an answer's JSON says was asked.

    Raises
    ------
    InputError
        Where a value is not valid, or a file that it names is gone.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"question: {shown(content)} is not valid; give what an answer's JSON has")
    names = {option.key: name for name, option, _ in entries()}
    own = without_set_prices(content)
    given = {names[key]: value for key, value in own.items() if key in names}
    if given.get("calibration") == SHIPPED:
        given["calibration"] = None
    return ask(content.get("sku"), read_options(given))


def without_set_prices(question: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a question's JSON the prices that its set of prices gives: the set says them.

    Examples
    --------
    >>> asked = {"sku": "gb200", "prices": "2026-04", "price_usd_per_hour": 2.21}
    >>> without_set_prices(asked)
    {'sku': 'gb200', 'prices': '2026-04'}
    >>> without_set_prices(asked | {"price_usd_per_hour": 3.0})["price_usd_per_hour"]
    3.0
    """
    name = question.get("prices")
    if name not in price_set_names():  # None, or refused where it is read
        return dict(question)
    of_set = {
        key
        for sku, key in (
            ("sku", "price_usd_per_hour"),
            ("prefill_sku", "prefill_price_usd_per_hour"),
        )
        if _set_of(question.get(sku), question.get(key), name)
    }
    return {key: value for key, value in question.items() if key not in of_set}


def _set_of(sku: str | None, price: float | None, prices: str | None) -> str | None:
    """Name the set of prices, None where it has another price of the machine, or none."""
    known = load_prices(prices)
    fact = known.prices.get(sku) if isinstance(sku, str) else None
    return known.name if fact is not None and fact.value == price else None


def price_of(cluster: ClusterSpec) -> float:
    """Price of one GPU [USD/h]."""
    return cluster.hardware().price_usd_per_hour.value


def cluster_of(sku: str | None, options: Options, needed_gpus: int = 0) -> ClusterSpec:
    """Find the cluster of a question, at the price of the question.

    Parameters
    ----------
    sku : str or None
        Machine; None takes that of the machine file or the cluster file.
    options : Options
        With the cluster, the price and the GPU budget.
    needed_gpus : int
        Least size of a cluster that no file describes. [GPU]

    Raises
    ------
    InputError
        Where no machine is named, or the file describes another one.
    """
    given = options.cluster
    if given is None:
        machine = named_machine(sku, options)
        if machine is None:
            raise InputError(
                "--sku: no machine is named; give --sku NAME, --machine FILE or --cluster FILE"
            )
        cluster = default_cluster(machine, max(MAX_GPUS, options.max_gpus, needed_gpus))
    elif options.machine is not None:
        raise InputError("--machine and --cluster: the cluster names its machine; give one of them")
    else:
        cluster = _pool_of(sku, options)
        if sku not in (None, cluster.sku):
            load_hardware(str(sku))
            raise _another(sku, cluster.sku, "cluster")
    return at_price(cluster, options.price, options.prices)


def named_machine(sku: str | None, options: Options) -> str | Hardware | None:
    """Find the machine that is named, or described by a file of its own; None for neither.

    Raises
    ------
    InputError
        Where the file describes another one.
    """
    machine = options.machine
    if machine is None:
        return sku
    found = machine if isinstance(machine, Hardware) else load_machine(machine)
    if sku not in (None, found.name):
        raise _another(sku, found.name, "machine file")
    return found


def _pool_of(sku: str | None, options: Options) -> ClusterSpec:
    """Find the pool of a described cluster that a question is put to, that of decode."""
    given = options.cluster
    if isinstance(given, Path | str):
        given = read_cluster(given)
    if isinstance(given, ClusterPools):
        return given.pools[given.chosen(options.pool, sku)]
    return pool_of(given, options.pool)  # type: ignore[arg-type]


def _another(sku: object, machine: str, of: str) -> InputError:
    return InputError(
        f"--sku: {shown(sku)} is not the machine of the {of}, {machine!r}; leave one of the two out"
    )


def prefill_cluster_of(
    cluster: ClusterSpec, options: Options, needed_gpus: int = 0
) -> ClusterSpec | None:
    """Find the cluster of the prefill workers where they stand on other machines.

    Raises
    ------
    InputError
        Where the machine or the pool is unknown, or a price is given for one that is no other.
    """
    there = _prefill_pool(cluster, options)
    name = cluster.sku if options.prefill_sku is None else options.prefill_sku
    if there is None and name != cluster.sku:
        if name not in hardware_names():
            raise unknown_name("prefill_sku", name, hardware_names())
        there = default_cluster(name, max(MAX_GPUS, options.max_gpus, needed_gpus))
    if there is not None:
        return at_price(there, options.prefill_price, options.prices)
    if options.prefill_price is not None:
        raise InputError(
            f"prefill_price {shown(options.prefill_price)} is not valid where prefill stands on "
            f"the machine of decode, {name}; give price for both, or another machine as prefill_sku"
        )
    return None


def _prefill_pool(cluster: ClusterSpec, options: Options) -> ClusterSpec | None:
    """Find the pool of prefill, None where it is that of decode or none of the cluster's."""
    given, pool, sku = options.cluster, options.prefill_pool, options.prefill_sku
    if not isinstance(given, ClusterPools):
        if pool is not None:
            pool_of(cluster, pool)  # refuses its name
        return None
    others = {each.sku for each in given.pools.values()} - {cluster.sku}
    if pool is None and sku not in others:
        return None
    name = given.chosen(pool, sku, "prefill_pool")
    if name == given.chosen(options.pool, cluster.sku):
        return None
    if given.pools[name].sku == cluster.sku:
        raise InputError(
            f"prefill_pool: {shown(name)} has the machine of the pool of decode, {cluster.sku}; "
            "prefill and decode stand in one pool, or in pools of different machines"
        )
    return given.pools[name]


def at_price(cluster: ClusterSpec, price: float | None, prices: str | None) -> ClusterSpec:
    """Set the price of a cluster's GPUs if one is given, else that of a set if it has no own."""
    if price is None and prices is not None and cluster.price_usd_per_hour is None:
        fact = load_prices(prices).prices.get(cluster.sku)
        price = None if fact is None else fact.value
    if price is None:
        return cluster
    content = cluster.model_dump() | {"price_usd_per_hour": price}
    return validated(ClusterSpec, content)


def scenario_of(
    options: Options, cluster: ClusterSpec, prefill_cluster: ClusterSpec | None = None
) -> Scenario:
    """Say what is served; unless named, the precision is the first that machines and model offer.

    Raises
    ------
    InputError
        Where a name is unknown, a length is out of range, or the precision is not offered.
    """
    model = load_model(options.model)
    machines = [each.hardware() for each in (cluster, prefill_cluster) if each is not None]
    for machine in machines:
        check_machine(options.engine, machine)
    precision = options.precision or preferred_precision(model, *machines)
    said = options.precision is not None or model.checkpoint is not None or precision == "bf16"
    if is_path(options.model) and not said:
        _say_assumed(model, precision)
    fields = {
        "model": model,
        "precision": precision,
        "isl": options.isl,
        "osl": options.osl,
        "cached_share": options.cached_share,
        "engine": options.engine,
        "anchors": not options.no_anchors,
        "frontends": options.frontends,
        "draft": options.draft,
        **_acceptance(options),
    }
    if options.draft is not None:
        draft_model(model, options.draft)  # type: ignore[arg-type]
    return validated(Scenario, fields)


def _acceptance(options: Options) -> dict[str, Any]:
    """Say by what drafts are kept: a text, or rates."""
    text = options.acceptance
    if text is None:
        return {}
    given = rates_or_length(str(text))
    if isinstance(given, float):
        raise InputError(
            f"acceptance: {given:g} tokens per step are of one depth; give rates that hold for "
            "any, such as 0.8,0.6,0.4, or a configuration to predict"
        )
    return {"text": text} if given is None else {"acceptance": given}


def at_depth(options: Options, depth: int) -> Options:
    """Options with rates in place of tokens kept per step, which are of one depth.

    Raises
    ------
    InputError
        Where a step of that depth cannot keep as many.
    """
    length = None if options.acceptance is None else rates_or_length(str(options.acceptance))
    if not isinstance(length, float):
        return options
    if length >= depth + 1:
        raise InputError(
            f"acceptance: {length:g} tokens per step are not valid at mtp_depth {depth}; give less "
            f"than {depth + 1}, or a larger depth"
        )
    return replace(options, acceptance=repr(rate_of_length(length, depth)))


def _say_assumed(model: Model, precision: str) -> None:
    """Tell that a file names no quantisation, and what is planned in its place."""
    bits = model.precision(precision)
    warnings.warn(
        f"model: {shown(model.name)} says nothing of quantisation and is planned in {precision} "
        f"({bits.note}), which needs such a checkpoint; --precision bf16 takes the weights as they "
        "are",
        InputWarning,
        stacklevel=2,
    )


def preferred_precision(model: Model, *machines: Hardware) -> str:
    """Choose the precision of the checkpoint, else the first of `PRECISIONS` that all offer.

    Raises
    ------
    InputError
        Where a machine cannot multiply it.

    Examples
    --------
    >>> preferred_precision(load_model("deepseek-r1-0528"), load_hardware("h200"))
    'fp8'
    """
    offered = [
        name
        for name in PRECISIONS
        if (bits := getattr(model.precisions, name))
        and all(can_multiply(machine, bits) for machine in machines)
    ]
    if model.checkpoint in offered:
        return model.checkpoint
    if model.checkpoint:
        bits = model.precision(model.checkpoint)
        unable = [machine.name for machine in machines if not can_multiply(machine, bits)]
        raise InputError(
            f"model: the checkpoint of {model.name!r} is {model.checkpoint} ({bits.note}), which "
            f"{' and '.join(unable)} cannot multiply; choose another machine, another checkpoint, "
            f"or with --precision: {', '.join(offered)}"
        )
    if offered:
        return offered[0]
    raise InputError(
        f"model: {model.name!r} is offered at no precision that "
        f"{' and '.join(machine.name for machine in machines)} has; "
        "choose another machine"
    )


def calibration_file(path: Path | str | None) -> CalibrationFile:
    """Read a calibration; None takes the shipped one."""
    return shipped_calibration() if path is None else read_calibration(Path(path))


def groups_of(configuration: Configuration, replicas: int = 1) -> tuple[Group, Group]:
    """GPUs per worker and workers, of decode and of prefill, over all replicas."""
    decode_workers = replicas * configuration.decode_workers
    prefill_workers = replicas * configuration.prefill_workers
    return (
        (configuration.decode_gpus_per_worker, decode_workers),
        (configuration.prefill_gpus_per_worker, prefill_workers),
    )


def gpus_needed(configuration: Configuration, machine: str | Hardware | None) -> int:
    """Size a cluster in whose NVLink domains all workers find room [GPU].

    Raises
    ------
    InputError
        Where the machine is unknown, or no cluster that can be described has room.
    """
    if machine is None:
        return configuration.gpus
    from optimizer.placement import roomy  # predictions on a described cluster need no packing

    decode, prefill = groups_of(configuration)
    known = machine if isinstance(machine, Hardware) else load_hardware(machine)
    domain = int(known.gpus_per_domain.value)
    largest = max(decode[0], prefill[0])
    least = max(configuration.gpus, -(-largest // domain) * domain)
    if least > LARGEST_CLUSTER:
        raise InputError(
            f"config: its workers take {least:,} GPUs; give fewer or smaller workers, at most "
            f"{LARGEST_CLUSTER:,} GPUs"
        )
    return roomy(default_cluster(machine, least), decode, prefill).gpus
