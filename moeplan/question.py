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
from costmodel.results import Scenario
from moeplan.clusters import cluster_of, prefill_cluster_of, price_of
from moeplan.numbers import rates_or_length
from moeplan.options import PRECISIONS, Options, checked, entries, read_options
from presets import (
    ClusterSpec,
    Hardware,
    InputError,
    InputWarning,
    load_model,
    load_prices,
    price_set_names,
)
from presets.catalogue import is_path
from presets.drafts import draft_model, rate_of_length
from presets.errors import shown
from presets.files import validated
from presets.pools import SERVINGS, Serving
from presets.record import Record

if TYPE_CHECKING:
    from optimizer.problem import Problem
    from optimizer.space import Space
    from presets import Model

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
        return tuple(mode for mode in SERVINGS if asked in (mode, "either"))

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
        if options.ttft_percentile is not None and options.max_ttft is None:
            raise InputError(
                f"ttft_percentile {options.ttft_percentile:g} is of a limit on TTFT, which is not "
                "given; give max_ttft"
            )
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
                options.target_percentile,
                options.ttft_percentile,
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
    >>> from presets import load_hardware
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
