"""Answers as frozen records; their JSON is what ``--json`` prints.

Fields marked as excluded serve the tables and stay out of JSON; their defaults stand in an answer
that is read back from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    Field,
    InstanceOf,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from costmodel.results import Configuration, Crossing, Prediction
from moeplan.answers.placement import Domain
from moeplan.answers.record import Answer
from moeplan.answers.rows import asked_columns, figures_of, outside, percentile_columns
from moeplan.answers.safe import SafeChoice, safe_columns
from moeplan.answers.serving import OtherServing
from moeplan.question import Question, question_from_json
from optimizer.answer import Conflict, Search
from optimizer.objective import ObjectiveValue
from optimizer.problem import Problem
from presets.frozen import Frozen
from presets.record import Record


def _question(value: Any) -> Question:
    return value if isinstance(value, Question) else question_from_json(value)


if TYPE_CHECKING:
    Asked = Question
else:  # for pydantic, to which a question is opaque
    Asked = Annotated[Any, PlainValidator(_question), PlainSerializer(Question.to_json)]
    """A question as a field: JSON has all that was asked, and asks again when it is read back."""


class ScenarioSummary(Record):
    """What is served, by name.

    Attributes
    ----------
    model, precision, engine : str
    isl, osl : int
        [token]
    cached_share : float
        Of the input, whose KV is reused. [1]
    """

    model: str
    precision: str
    isl: int
    osl: int
    engine: str
    cached_share: float = 0.0


class MeasuredRow(Record):
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


class Measured(Record):
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


class NearestMeasured(Record):
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


class Billing(Record):
    """Whole NVLink domains as they are charged.

    Attributes
    ----------
    replicas : int
        Copies of the deployment that share the domains. [1]
    charged_gpus, used_gpus, stranded_gpus : int
        Of those domains: paid, serving, and neither. [GPU]
    domains : int
        Racks of GB200 NVL72, servers of B200. [1]
    best_by_gpu : Configuration or None
        What would be best if only GPUs that serve were paid.
    usd_per_m_total_tokens_by_gpu : float or None
        What that would cost then. [USD per million tokens]
    """

    replicas: int
    charged_gpus: int
    used_gpus: int
    stranded_gpus: int
    domains: int
    best_by_gpu: Configuration | None
    usd_per_m_total_tokens_by_gpu: float | None


class RunnerUp(Record):
    """The best of another structure, and why it lost."""

    config: Configuration
    prediction: Prediction
    lost_by: str


class Links(Record):
    """What the links give to a decode worker, to the slowest where they differ.

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
    slowest_link : str or None
        Name of the worst link, or of the one that workers share; None inside an NVLink domain.
    slowdown : float
        By which the other workers lengthen its all-to-all where all are at work. [1]
    shared_with : tuple of str
        Workers on that link, if any, such as "decode 2".
    exchange : Crossing or None
        Kernel that carries the experts' tokens across NVLink domains, the engine that has it, and
        the number formats that it sends and returns.
    """

    gpus: int
    domains: int
    bottleneck: str | None
    all_to_all_gb_s: float | None
    latency_us: float
    slowest_link: str | None = None
    slowdown: float = 1.0
    shared_with: tuple[str, ...] = ()
    exchange: Crossing | None = None


class Deployment(Record):
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


class Best(Answer):
    """The best deployment for one target, or why there is none.

    Attributes
    ----------
    status : {"optimal", "infeasible"}
    objective : ObjectiveValue
    placement : tuple of Domain
        The NVLink domains in use with the workers in each; all replicas under billing by domain
        and under the objective "gpus".
    prefill_sku : str or None
        Machine of the prefill workers where it is another; in JSON only then.
    billing : Billing or None
        Under billing by domain; in JSON only then.
    chance_to_meet : dict or None
        Probability to meet the "target", and the "max_ttft" where one is set, by the 90 % interval
        of each; None without a configuration. [1]
    percentiles_ms : dict or None
        Percentiles of TPOT and TTFT over requests: the 90th, the 99th, and those that limits are
        asked of, such as "tpot_p99.9". [ms]
    safe_choice : SafeChoice or None
        The best inside the data that meets each limit with a chance of 90 %; None without a
        configuration.
    other_serving : OtherServing or None
        The best of one pool, or of two, whichever lost; in JSON only where either was asked for.
    nearest_measured : NearestMeasured or None
        The nearest shipped measurement, at any lengths; in JSON only where `measured` has no value.
    reason : str or None
        Why nothing meets the target; in JSON only then, as are the next two.
    conflicts : tuple of Conflict
        The smallest set of limits that cannot be met together.
    nearest_target_tok_s_per_user : float or None
        Highest target that the other limits allow. [token/s]
    question : Question
        All that was asked; in JSON by the keys of ``docs/options.md``.
    gpus : int or None
        Of one deployment, prefill and decode together. [GPU]
    version : str or None
        Of the package that answered.
    problem : Problem
        As the search took it; not in JSON, which the question says in full.
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
    objective: ObjectiveValue
    chance_to_meet: Frozen[Literal["target", "max_ttft"], float] | None = None
    percentiles_ms: Frozen[str, float] | None = None
    safe_choice: SafeChoice | None = None
    other_serving: OtherServing | None = None
    placement: tuple[Domain, ...] = ()
    prefill_sku: str | None = None
    billing: Billing | None = None
    nearest_measured: NearestMeasured | None = None
    reason: str | None = None
    conflicts: tuple[Conflict, ...] = ()
    nearest_target_tok_s_per_user: float | None = None
    question: Asked
    gpus: int | None = None
    version: str | None = None
    problem: Annotated[InstanceOf[Problem] | None, Field(exclude=True)] = None
    deployment: Annotated[Deployment | None, Field(exclude=True)] = None
    not_measured: Annotated[str | None, Field(exclude=True)] = None
    above_measured: Annotated[bool, Field(exclude=True)] = False
    title: Annotated[str, Field(exclude=True)] = ""
    price_usd_per_hour: Annotated[float, Field(exclude=True)] = 0.0
    prefill_price_usd_per_hour: Annotated[float, Field(exclude=True)] = 0.0

    def to_rows(self) -> list[dict[str, Any]]:
        """One row."""
        row: dict[str, Any] = {
            "target_tok_s_per_user": self.target_tok_s_per_user,
            "sku": self.sku,
            "status": self.status,
        }
        row |= figures_of(self.config, self.prediction)
        row |= {
            "objective": self.objective.name,
            "objective_amount": self.objective.amount,
            "objective_unit": self.objective.unit,
        }
        for limit in ("target", "max_ttft"):
            row[f"chance_to_meet_{limit}"] = (self.chance_to_meet or {}).get(limit)
        row |= percentile_columns(self.percentiles_ms or {}, self.question)
        row |= safe_columns(self.safe_choice)
        row["other_serving"] = getattr(self.other_serving, "serving", None)
        row["other_serving_lost_by"] = getattr(self.other_serving, "lost_by", None)
        for name in ("total_tok_s_per_gpu", "usd_per_m_total_tokens"):
            row[f"measured_{name}"] = getattr(self.measured, name, None)
        row |= {
            "extrapolated_in": outside(self.prediction),
            "measured_origin": getattr(self.measured, "origin", None),
            "gpus": self.gpus,
            "replicas": self.billing.replicas if self.billing else self.objective.replicas,
            "charged_gpus": self.billing.charged_gpus if self.billing else None,
            "reason": self.reason,
            "version": self.version,
        }
        return [row | asked_columns(self.question)]

    def _gist(self) -> str:
        asked = f"{self.sku} at {self.target_tok_s_per_user:g} tok/s/user"
        if self.config is None or self.prediction is None:
            return f"{asked}: infeasible"
        return f"{asked}: {self.config.label}, {figures_in_words(self.prediction)}"

    @model_serializer(mode="wrap")
    def _without_blanks(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        blank = {"prefill_sku": self.prefill_sku is None, "billing": self.billing is None}
        blank["other_serving"] = self.other_serving is None
        blank["nearest_measured"] = self.nearest_measured is None
        blank |= dict.fromkeys(
            ("reason", "conflicts", "nearest_target_tok_s_per_user"), self.reason is None
        )
        return {name: value for name, value in content.items() if not blank.get(name)}


def figures_in_words(prediction: Prediction) -> str:
    """Say speed, throughput and cost."""
    return (
        f"{prediction.tok_s_per_user:.1f} tok/s/user, "
        f"{prediction.total_tok_s_per_gpu:,.0f} tok/s/GPU, "
        f"${prediction.usd_per_m_total_tokens:.4f}/M tokens"
    )
