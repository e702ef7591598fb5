"""The problem of a search: what is served on what, what an answer must meet, what is made best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from costmodel.calibration import Calibration, Coverage
from costmodel.deployments import traits_of
from costmodel.intervals import is_shared, spanned
from costmodel.percentiles import ASKED, Judged
from costmodel.resolve import resolve
from costmodel.results import Scenario
from optimizer.checks import check_count, check_positive
from optimizer.objective import Objective
from optimizer.placement import Group
from optimizer.resources import Resources
from optimizer.space import Space
from presets import ClusterSpec, InputError
from presets.pools import Serving

HIGHEST_CONFIDENCE = 0.999
"""Beyond it the tail of the errors was not measured. [1]"""


@dataclass(frozen=True)
class Limits:
    """What an answer must meet.

    Attributes
    ----------
    target : float
        Interactivity at or above which every user is served. [token/s]
    max_gpus : int
        [GPU]
    max_ttft : float or None
        Longest mean time to first token, or percentile. [s]
    concurrency : int or None
        Users that the deployment serves at once; None takes as many as fill its slots. [1]
    min_confidence : float or None
        Probability with which the target, and a limit on TTFT, are met, each by the interval of its
        prediction; None asks the prediction itself to meet them. [1]
    within_data : bool
        Whether only deployments inside the data of the calibration are looked at.
    target_percentile : float or None
        Requests in a hundred that the target is to be met by; None asks it of the median. [%]
    ttft_percentile : float or None
        Requests in a hundred that `max_ttft` is to be met by; None asks it of the mean. [%]

    Examples
    --------
    >>> Limits(125, max_ttft=2.0).max_gpus
    72
    """

    target: float
    max_gpus: int = 72
    max_ttft: float | None = None
    concurrency: int | None = None
    min_confidence: float | None = None
    within_data: bool = False
    target_percentile: float | None = None
    ttft_percentile: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        check_positive("target", self.target, "tok/s/user")
        if self.max_ttft is not None:
            check_positive("max_ttft", self.max_ttft, "seconds")
        check_count("max_gpus", self.max_gpus)
        if self.concurrency is not None:
            check_count("concurrency", self.concurrency)
        if self.min_confidence is not None:
            check_positive("min_confidence", self.min_confidence, "probability")
            if not 0.5 <= self.min_confidence <= HIGHEST_CONFIDENCE:
                raise InputError(
                    f"min_confidence {self.min_confidence:g} is not valid; "
                    f"give 0.5 to {HIGHEST_CONFIDENCE}"
                )
        for name, (low, high) in ASKED.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(f"{name} {value:g} is not valid; give {low:g} to {high:g}")

    @property
    def judged(self) -> Judged:
        """Percentiles by which TPOT and TTFT count against the limits."""
        return Judged(self.target_percentile, self.ttft_percentile)


@dataclass(frozen=True)
class Problem:
    """All that an answer of the search rests on; made once and passed whole.

    Attributes
    ----------
    scenario : Scenario
        What is served.
    cluster : ClusterSpec
        Of decode, and of prefill unless that has its own.
    limits : Limits
        What an answer must meet.
    calibration : Calibration
        Constants of the cost model.
    space : Space
        What is searched.
    objective : Objective
        What is made best.
    prefill_cluster : ClusterSpec or None
        Of prefill where that stands on other machines.
    serving : {"aggregated", "disaggregated"}
        One pool whose workers prefill and decode, or a pool for each.
    """

    scenario: Scenario
    cluster: ClusterSpec
    limits: Limits
    calibration: Calibration
    space: Space = Space()  # noqa: RUF009 - frozen
    objective: Objective = Objective()  # noqa: RUF009 - frozen
    prefill_cluster: ClusterSpec | None = None
    serving: Serving = "disaggregated"

    def __post_init__(self) -> None:
        """Refuse a machine for prefill where no worker prefills alone."""
        if self.is_aggregated and self.prefill_cluster is not None:
            raise InputError(
                f"prefill_sku {self.prefill_cluster.sku} is not valid in aggregated serving, whose "
                "workers do both on one machine; leave it out"
            )

    @property
    def is_aggregated(self) -> bool:
        """Whether one pool of workers prefills and decodes."""
        return self.serving == "aggregated"

    @cached_property
    def constants(self) -> Calibration:
        """Constants of decode workers, whatever kernels their experts have."""
        return resolve(self.calibration, traits_of(self.scenario, self.cluster))

    @cached_property
    def prefill_constants(self) -> Calibration:
        """Constants of prefill workers."""
        return resolve(self.calibration, traits_of(self.scenario, self.resources.prefill_on))

    @property
    def coverage(self) -> Coverage:
        """What the rows behind the calibration span, in this mode if there are any."""
        every = self.calibration.coverage
        rows = spanned(self.scenario, self.cluster.sku, self.serving, every)
        return (self.is_aggregated and rows.aggregated) or rows

    @property
    def is_shared(self) -> bool:
        """Whether rows behind the shared constants are of its machine, model and engine."""
        every = self.calibration.coverage
        return is_shared(self.scenario, self.cluster.sku, self.serving, every)

    @property
    def resources(self) -> Resources:
        """Where deployments stand."""
        return Resources(self.cluster, self.prefill_cluster)

    @property
    def budget(self) -> int:
        """GPUs that may be taken, and are there [GPU]."""
        return min(self.limits.max_gpus, self.resources.gpus)

    def has_room(self, decode: Group, prefill: Group) -> bool:
        """Whether workers stand side by side within the GPU budget."""
        gpus = decode[0] * decode[1] + prefill[0] * prefill[1]
        return gpus <= self.limits.max_gpus and self.resources.has_room(decode, prefill)

    def at(self, target: float) -> Problem:
        """Ask for another interactivity [token/s]."""
        return replace(self, limits=replace(self.limits, target=target))

    def within(self, limits: Limits) -> Problem:
        """Ask for other limits."""
        return replace(self, limits=limits)

    def under(self, calibration: Calibration) -> Problem:
        """Predict by other constants."""
        return replace(self, calibration=calibration)
