"""Answers as frozen records; their JSON is what ``--json`` prints.

Fields marked as excluded serve the tables and stay out of JSON; their defaults stand in an answer
that is read back from it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from costmodel.results import Configuration, Prediction
from moeplan.domains import Domain
from moeplan.shown import Result, Shown
from presets.frozen import Frozen


class ScenarioSummary(Result):
    """What is served, by name.

    Attributes
    ----------
    model, precision, engine : str
    isl, osl : int
        [token]
    """

    model: str
    precision: str
    isl: int
    osl: int
    engine: str


class MeasuredRow(Result):
    """A published row; its cost is at the price that was asked for.

    Attributes
    ----------
    config : Configuration
    tok_s_per_user : float
        [token/s]
    tpot_ms : float
        [ms]
    total_tok_s_per_gpu : float
        [token/s]
    usd_per_m_total_tokens : float
        [USD per million tokens]
    """

    config: Configuration
    tok_s_per_user: float
    tpot_ms: float
    total_tok_s_per_gpu: float
    usd_per_m_total_tokens: float


class Measured(Result):
    """The measured frontier at one target.

    Attributes
    ----------
    total_tok_s_per_gpu : float
        [token/s]
    usd_per_m_total_tokens : float
        [USD per million tokens]
    origin : {"measured", "interpolated"}
    between : tuple of MeasuredRow
        The row itself when measured, else the slower and the faster neighbour.
    """

    total_tok_s_per_gpu: float
    usd_per_m_total_tokens: float
    origin: Literal["measured", "interpolated"]
    between: tuple[MeasuredRow, ...]


class NearestMeasured(Result):
    """The shipped measurement nearest to a question that the measured frontier does not answer.

    Attributes
    ----------
    isl, osl : int
        As it was measured. [token]
    engine : str
    config : Configuration
    tok_s_per_user, total_tok_s_per_gpu : float
        [token/s]
    factors : dict
        How far it lies: its interactivity, input and output length over those asked for. [1]
    """

    isl: int
    osl: int
    engine: str
    config: Configuration
    tok_s_per_user: float
    total_tok_s_per_gpu: float
    factors: Frozen[str, float]


class Search(Result):
    """What the search looked at and proved.

    Attributes
    ----------
    candidates : int
        Deployments that break no rule. [1]
    status : str
        What the solver says.
    gap : float or None
        0 where the answer is proven best. [1]
    seconds : float
        [s]
    feasible : int
        Deployments that meet every limit; with fewer users than slots those that could win. [1]
    pruned : int
        Of these, those that another makes needless, so that the solver need not see them. [1]
    bound : float or None
        Proven lower bound of the cost; None where the objective is another. [USD per million]
    """

    candidates: int
    status: str
    gap: float | None
    seconds: float
    feasible: int
    pruned: int
    bound: float | None


class Objective(Result):
    """What was made best, and what it comes to.

    Attributes
    ----------
    name : {"cost", "throughput", "output-cost", "power", "gpus"}
    amount : float or None
        In `unit`; None where nothing meets the limits.
    unit : str
    replicas : int or None
        Copies of the deployment that serve the rate together, under "gpus". [1]
    served : float or None
        What those copies could serve together; of equally many GPUs the answer serves most. [1/s]
    """

    name: str
    amount: float | None
    unit: str
    replicas: int | None = None
    served: float | None = None


class Billed(Result):
    """Whole NVLink domains as they are charged.

    Attributes
    ----------
    replicas : int
        Copies of the deployment that share the domains. [1]
    charged_gpus, used_gpus, stranded_gpus : int
        Of those domains: paid, serving, and neither. [GPU]
    best_by_gpu : Configuration or None
        What would be best if only GPUs that serve were paid.
    usd_per_m_total_tokens_by_gpu : float or None
        What that would cost then. [USD per million tokens]
    """

    replicas: int
    charged_gpus: int
    used_gpus: int
    stranded_gpus: int
    best_by_gpu: Configuration | None
    usd_per_m_total_tokens_by_gpu: float | None


class Conflict(Result):
    """One limit of the smallest set that cannot be met together.

    Attributes
    ----------
    limit : {"target", "max_ttft", "concurrency", "rate", "max_gpus"}
    asked : float
    needed : float or None
        What it would have to be, the others of the set kept; None where nothing would do.
    """

    limit: str
    asked: float
    needed: float | None


class RunnerUp(Result):
    """The best of another structure, and why it lost."""

    config: Configuration
    prediction: Prediction
    lost_by: str


class Links(Result):
    """What the links give to one decode worker.

    Attributes
    ----------
    gpus : int
        [GPU]
    domains : int
        NVLink domains that it touches. [1]
    bottleneck : str or None
        Kind of the worst link.
    all_to_all_gb_s : float or None
        What one GPU sends to all others in a uniform all-to-all. [GB/s]
    latency_us : float
        Of the longest path. [us]
    """

    gpus: int
    domains: int
    bottleneck: str | None
    all_to_all_gb_s: float | None
    latency_us: float


class Deployment(Result):
    """A configuration with its prediction and what its decode step spends its time on.

    Attributes
    ----------
    placement : tuple of Domain
        Where every worker stands: the NVLink domains in use, those of decode first.
    breakdown_ms : dict
        Parts of a step; "exposed_communication" is the sum of those that are links. [ms]
    batch_in_flight : float
        Requests per rank under dp, per worker under tp. [1]
    prefill_load : float
        Share of the prefill capacity in use. [1]
    hidden_communication_ms : float
        Dispatch and combine that pass behind expert GEMMs, and so are no part of a step. [ms]
    batch_limit : int
        Requests whose KV cache fits, per rank under dp, per worker under tp; a larger `max_batch`
        is predicted as cut to it. [1]
    """

    config: Configuration
    prediction: Prediction
    breakdown_ms: Frozen[str, float]
    batch_in_flight: float
    prefill_load: float
    links: Links
    placement: tuple[Domain, ...]
    hidden_communication_ms: float
    batch_limit: int


class Best(Shown):
    """The best deployment for one target, or why there is none.

    Attributes
    ----------
    status : {"optimal", "infeasible"}
    objective : Objective
    placement : tuple of Domain
        The NVLink domains in use with the workers in each; all replicas under billing by domain
        and under the objective "gpus".
    prefill_sku : str or None
        Machine of the prefill workers where it is another; in JSON only then.
    billing : Billed or None
        Under billing by domain; in JSON only then.
    nearest_measured : NearestMeasured or None
        The nearest shipped measurement, at any lengths; in JSON only where `measured` has no value.
    reason : str or None
        Why nothing meets the target; in JSON only then, as are the next two.
    conflicts : tuple of Conflict
        The smallest set of limits that cannot be met together.
    nearest_target_tok_s_per_user : float or None
        Highest target that the other limits allow. [token/s]
    """

    status: Literal["optimal", "infeasible"]
    sku: str
    target_tok_s_per_user: float
    scenario: ScenarioSummary
    config: Configuration | None
    prediction: Prediction | None
    measured: Measured | None
    search: Search
    runners_up: tuple[RunnerUp, ...]
    breakdown_ms: Frozen[str, float] | None
    objective: Objective
    placement: tuple[Domain, ...] = ()
    prefill_sku: str | None = None
    billing: Billed | None = None
    nearest_measured: NearestMeasured | None = None
    reason: str | None = None
    conflicts: tuple[Conflict, ...] = ()
    nearest_target_tok_s_per_user: float | None = None
    deployment: Annotated[Deployment | None, Field(exclude=True)] = None
    not_measured: Annotated[str | None, Field(exclude=True)] = None
    above_measured: Annotated[bool, Field(exclude=True)] = False
    title: Annotated[str, Field(exclude=True)] = ""
    price_usd_per_hour: Annotated[float, Field(exclude=True)] = 0.0
    prefill_price_usd_per_hour: Annotated[float, Field(exclude=True)] = 0.0
    max_gpus: Annotated[int, Field(exclude=True)] = 0
    given_gpus: Annotated[int | None, Field(exclude=True)] = None

    def _gist(self) -> str:
        asked = f"{self.sku} at {self.target_tok_s_per_user:g} tok/s/user"
        if self.config is None or self.prediction is None:
            return f"{asked}: infeasible"
        return f"{asked}: {self.config.label}, {_figures(self.prediction)}"

    @model_serializer(mode="wrap")
    def _without_blanks(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        blank = {"prefill_sku": self.prefill_sku is None, "billing": self.billing is None}
        blank["nearest_measured"] = self.nearest_measured is None
        blank |= dict.fromkeys(
            ("reason", "conflicts", "nearest_target_tok_s_per_user"), self.reason is None
        )
        return {name: value for name, value in content.items() if not blank.get(name)}


class Curve(Shown):
    """The best deployment for each of several targets on one machine."""

    sku: str
    scenario: ScenarioSummary
    rows: tuple[Best, ...]

    def _gist(self) -> str:
        met = sum(row.config is not None for row in self.rows)
        return f"{self.sku}: {len(self.rows)} targets, {met} of them within reach"


class PredictedDeployment(Deployment, Shown):
    """One given configuration as predicted, with what was served and where."""

    sku: str
    scenario: ScenarioSummary
    title: Annotated[str, Field(exclude=True)] = ""
    price_usd_per_hour: Annotated[float, Field(exclude=True)] = 0.0

    def _gist(self) -> str:
        return f"{self.sku}: {self.config.label}, {_figures(self.prediction)}"


def _figures(prediction: Prediction) -> str:
    return (
        f"{prediction.tok_s_per_user:.1f} tok/s/user, "
        f"{prediction.total_tok_s_per_gpu:,.0f} tok/s/GPU, "
        f"${prediction.usd_per_m_total_tokens:.4f}/M tokens"
    )
