"""What a recipe is of: machine, model, configuration, prediction, and what the user chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from costmodel.results import Configuration, Prediction
from moeplan.recipes.names import (
    ClaimName,
    DeploymentName,
    Image,
    LabelKey,
    LabelValue,
    ModelPath,
    Namespace,
    Plain,
    ServedName,
)

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Chance = Annotated[float, Field(ge=0, le=1)]
RoleName = Literal["prefill", "decode"]
ROLES: tuple[RoleName, ...] = ("prefill", "decode")

TWO_POOLS: Mapping[RoleName, str] = {role: role for role in ROLES}
ONE_POOL: Mapping[RoleName, str] = {"decode": "worker"}
"""What the workers of each role are called, in names of files and hosts. In one pool those that
decode prefill as well: they stand under decode, as they do in a configuration."""


class Part(BaseModel):
    """Base of what a recipe holds: frozen, no unknown field, no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Machine(Part):
    """The machine that a recipe assumes.

    Attributes
    ----------
    sku, title : str
        Name of the preset, and the name in print.
    kernel_profile : str
        Family of chips; records of earlier releases call it generation.
    architecture : {"amd64", "arm64"}
        Processor of a server.
    gpus_per_node, gpus_per_domain : int
        Of a server, and of an NVLink domain. [GPU]
    usd_per_hour : float
        Price of a GPU. [USD/h]
    prices : str or None
        Set that the price is of; None for another price, and in records that do not say.
    """

    sku: Plain
    title: Plain
    kernel_profile: Plain = Field(validation_alias=AliasChoices("kernel_profile", "generation"))
    architecture: Literal["amd64", "arm64"]
    gpus_per_node: Count
    gpus_per_domain: Count
    usd_per_hour: Annotated[float, Field(gt=0)]
    prices: Plain | None = None

    @property
    def nodes_per_domain(self) -> int:
        """Servers that share an NVLink domain."""
        return self.gpus_per_domain // self.gpus_per_node


class Served(Part):
    """The model and the workload.

    Attributes
    ----------
    model, precision : str
        Preset or path, and precision of the experts.
    expert_format : str
        Format of the experts' weights; fp4 is one of two.
    isl, osl : int
        Nominal lengths; the longest that are sent. [token]
    cached_share : float
        Of the input, whose KV is reused; above 0 engines keep it. [1]
    experts, heads, kv_bits : int
        Routed experts of a layer, attention heads, bits of a cached value. [1]
    expert_width, kv_heads : int or None
        Width of an expert, heads of a grouped cache; None in records that do not say. [1]
    """

    model: Plain
    precision: Literal["fp4", "fp8", "bf16"]
    expert_format: Literal["nvfp4", "mxfp4", "fp8", "bf16"]
    isl: Count
    osl: Count
    experts: Count
    heads: Count
    kv_bits: Count
    expert_width: Count | None = None
    kv_heads: Count | None = None
    cached_share: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Settings(Part):
    """What the user chooses besides the configuration.

    Attributes
    ----------
    name : str
        Of the deployment.
    model_path, served_name : str
        Where the checkpoint lies in the container, and the name that clients ask for.
    draft_path : str or None
        Where the checkpoint of the EAGLE-3 head lies that drafts; None where none does.
    image : str
        Container image.
    namespace, pull_secret, token_secret : str or None
        None leaves them out.
    claim : str
        Storage claim that holds the checkpoint.
    node_selector : dict
        Labels that a node must have, besides its architecture.
    """

    name: DeploymentName
    model_path: ModelPath
    draft_path: ModelPath | None = None
    served_name: ServedName
    image: Image
    namespace: Namespace | None = None
    claim: ClaimName
    node_selector: dict[LabelKey, LabelValue] = {}
    pull_secret: ClaimName | None = None
    token_secret: ClaimName | None = None


class Safe(Part):
    """What a safe choice keeps, and how surely.

    Attributes
    ----------
    confidence : float
        The least chance. [1]
    target_tok_s_per_user : float
        [token/s]
    max_ttft_s : float or None
        Longest mean TTFT, where that is limited. [s]
    chance_to_meet : dict
        Probability to meet the "target" and, where it is limited, the "max_ttft". [1]
    """

    confidence: Chance
    target_tok_s_per_user: Annotated[float, Field(gt=0)]
    max_ttft_s: Annotated[float, Field(gt=0)] | None = None
    chance_to_meet: dict[Literal["target", "max_ttft"], Chance]


class Recipe(Part):
    """All that the files of a recipe are built from; `recipe.json` holds it.

    Attributes
    ----------
    recipe : {1}
        Version of this record.
    format : str
        Name of one of `formats.FORMATS`.
    engine_release : str
        Release of the engine that the options are for.
    machine, served, config, settings
    prediction : Prediction or None
    safe : Safe or None
        Where the configuration is the safe choice.
    batch_limit : int or None
        Requests whose KV cache fits, per rank (dp) or worker (tp) of decode. [1]
    two_batches : bool
        Whether decode overlaps two half batches, as it was predicted.
    """

    recipe: Literal[1] = 1
    format: Plain
    engine_release: Plain
    machine: Machine
    served: Served
    config: Configuration
    prediction: Prediction | None = None
    safe: Safe | None = None
    settings: Settings
    batch_limit: Count | None = None
    two_batches: bool = False

    @property
    def roles(self) -> Mapping[RoleName, str]:
        """Roles that there are, each with what its workers are called."""
        return ONE_POOL if self.config.is_aggregated else TWO_POOLS

    @property
    def filled(self) -> int:
        """Requests that the load brings to a rank (dp) or worker (tp) of decode, at most [1]."""
        ranks = self.gpus("decode") if self.attention_dp("decode") else 1
        return -(-self.config.concurrency // (self.workers("decode") * ranks))

    @property
    def batch_note(self) -> str | None:
        """What to know of a largest batch whose KV cache does not fit; None where it does."""
        most, limit = self.config.max_batch, self.batch_limit
        if limit is None or most <= limit:
            return None
        return (
            f"is {most}; the KV cache of {limit} fits, and the load brings {self.filled}: with "
            "more users requests would wait for memory"
        )

    def kind(self, role: RoleName) -> str:
        """Name a worker of a role in print: "prefill worker", or "worker" in one pool."""
        return "worker" if self.config.is_aggregated else f"{role} worker"

    def workers(self, role: RoleName) -> int:
        """Workers of a role."""
        return int(getattr(self.config, f"{role}_workers"))

    def gpus(self, role: RoleName) -> int:
        """GPUs of one worker of a role."""
        return int(getattr(self.config, f"{role}_gpus_per_worker"))

    def attention_dp(self, role: RoleName) -> bool:
        """Whether each rank of a worker takes requests of its own; one GPU has no other."""
        return self.gpus(role) > 1 and getattr(self.config, f"{role}_attention") == "dp"

    def to_json(self) -> dict[str, Any]:
        """Content of `recipe.json`."""
        return self.model_dump(mode="json")
