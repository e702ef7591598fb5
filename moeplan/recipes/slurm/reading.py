"""Reading a recipe file of srt-slurm, also one that moeplan did not write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from moeplan.recipes.parsed import Parsed, Setting
from moeplan.recipes.placement import machine_of
from moeplan.recipes.reading import model_of, yaml_of
from moeplan.recipes.recipe import ROLES, RoleName
from moeplan.recipes.slurm.files import RECIPE
from moeplan.recipes.slurm.schema import schema_faults, unknown_keys
from moeplan.recipes.trtllm.reading import note_worker, read_engine
from presets import InputError, default_cluster
from presets.deployment_tools import load_srtctl

NEWER = "roles"
"""Key of the layout of srtctl 2, which has no back-end."""


def _users(value: object) -> object:
    """Take "64x128" and 64 for lists, as srtctl does."""
    if isinstance(value, str):
        return value.split("x")
    return [value] if isinstance(value, int) else value


Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=1_000_000)]


class JobPart(BaseModel):
    """Base of what is read of the file: frozen; the schema of srtctl tells all else."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class JobModel(JobPart):
    """Checkpoint and container."""

    path: str = ""
    container: str = ""
    precision: str = ""


class JobResources(JobPart):
    """Workers and servers."""

    gpu_type: str = ""
    gpus_per_node: Count = Field(default_factory=lambda: load_srtctl().default_gpus_per_node)
    prefill_nodes: CountOrZero | None = None
    prefill_workers: CountOrZero | None = None
    gpus_per_prefill: Count | None = None
    decode_nodes: CountOrZero | None = None
    decode_workers: CountOrZero | None = None
    gpus_per_decode: Count | None = None
    spread_workers: bool = False

    def workers(self, role: RoleName) -> int:
        """Workers of a role [1]."""
        return getattr(self, f"{role}_workers") or 0

    def gpus(self, role: RoleName) -> int:
        """GPUs of a worker: as given, or the GPUs of the role's servers shared evenly [GPU]."""
        given: int | None = getattr(self, f"gpus_per_{role}")
        nodes, workers = getattr(self, f"{role}_nodes"), self.workers(role)
        if given is not None:
            return given
        if nodes and workers:
            return int(nodes * self.gpus_per_node // workers)
        if role == "decode" and nodes == 0 and workers:
            return self.gpus("prefill")
        return self.gpus_per_node


class JobEngines(JobPart):
    """Engine options of both roles, which srt-slurm passes on as they are."""

    prefill: dict[str, Any] | None = None
    decode: dict[str, Any] | None = None


class JobBackend(JobPart):
    """The engine."""

    type: str = "sglang"
    trtllm_config: JobEngines | None = None


class JobFrontend(JobPart):
    """What clients ask."""

    type: str = "dynamo"


class JobDynamo(JobPart):
    """Which Dynamo is installed."""

    install: bool = True
    version: str | None = Field(default_factory=lambda: load_srtctl().default_dynamo)
    hash: str | None = None
    top_of_tree: bool = False
    wheel: str | None = None

    @property
    def installed(self) -> str | None:
        """What is installed over the image's; None where nothing is."""
        if not self.install:
            return None
        source = "the newest commit" if self.top_of_tree else self.hash or self.wheel
        return source or self.version


class JobBenchmark(JobPart):
    """The load."""

    type: str = "manual"
    isl: Count | None = None
    osl: Count | None = None
    concurrencies: Annotated[list[Count] | None, BeforeValidator(_users)] = None
    random_range_ratio: float | None = None


class Job(JobPart):
    """One recipe of srt-slurm, as far as it is looked at."""

    model: JobModel = JobModel()
    resources: JobResources = Field(default_factory=JobResources)
    backend: JobBackend = JobBackend()
    frontend: JobFrontend = JobFrontend()
    dynamo: JobDynamo = Field(default_factory=JobDynamo)
    benchmark: JobBenchmark = JobBenchmark()


def read_slurm(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Read the recipe file."""
    if RECIPE not in files:
        parsed.tell("files", RECIPE, "is missing")
        return
    content = yaml_of(parsed, RECIPE, files[RECIPE], "warning")  # text to srtctl
    if content is None:
        return
    if not isinstance(content, dict):
        parsed.tell("schema", RECIPE, "must be keys and values")
        return
    if NEWER in content and "backend" not in content:
        problem = "is of a newer layout of srtctl, which is not read here"
        parsed.tell("schema", f"{RECIPE}: {NEWER}", problem)
        return
    job = _job(parsed, content)
    parsed.documents[RECIPE] = job
    _note_facts(parsed, job)
    engines = job.backend.trtllm_config
    for role in ROLES:
        options = getattr(engines, role) if engines is not None else None
        if parsed.record is not None and (job.backend.type != "trtllm" or options is None):
            field = f"{RECIPE}: backend.trtllm_config.{role}"
            parsed.tell("schema", field, "is missing; the record is of TensorRT-LLM")
        if job.backend.type == "trtllm" and options is not None:
            read_engine(parsed, role, f"{RECIPE}: backend.trtllm_config.{role}", options)
            _read_worker(parsed, role, job)
    _read_load(parsed, job.benchmark)


def _job(parsed: Parsed, content: dict[str, Any]) -> Job:
    """Read sections one by one, so that a fault in one leaves the others."""
    faulty: set[str] = set()
    for place, problem in schema_faults(content):
        parsed.tell("schema", f"{RECIPE}: {place}", problem)
        faulty.add(place)
    for place, problem in unknown_keys(content):
        parsed.tell("schema", f"{RECIPE}: {place}", problem, "warning")
    sections = {}
    for name, field in Job.model_fields.items():
        given = content.get(name)
        if not isinstance(given, dict):
            continue
        kept = {str(key): value for key, value in given.items() if f"{name}.{key}" not in faulty}
        model = field.annotation
        assert isinstance(model, type)
        sections[name] = model_of(parsed, f"{RECIPE}: {name}", kept, model) or model()
    return Job(**sections)


def _note_facts(parsed: Parsed, job: Job) -> None:
    """Take from the file what no record tells."""
    if parsed.record is not None:
        return
    try:
        cluster = default_cluster(job.resources.gpu_type, job.resources.gpus_per_node)
        machine = machine_of(cluster)
        machine = machine.model_copy(update={"gpus_per_node": job.resources.gpus_per_node})
    except InputError:
        machine = None  # a machine without a preset
    parsed.facts = replace(
        parsed.facts,
        machine=machine,
        isl=job.benchmark.isl,
        osl=job.benchmark.osl,
        precision=job.model.precision or None,
        engine=job.backend.type,
    )


def _read_worker(parsed: Parsed, role: RoleName, job: Job) -> None:
    gpus, node = job.resources.gpus(role), job.resources.gpus_per_node
    place = f"{RECIPE}: resources"
    note_worker(
        parsed,
        role,
        replicas=Setting(f"{place}.{role}_workers", job.resources.workers(role)),
        nodes=Setting(f"{place}.gpus_per_{role}", max(gpus // node, 1)),
        gpus_per_node=Setting(f"{place}.gpus_per_{role}", min(gpus, node)),
        model=Setting(f"{RECIPE}: model.path", job.model.path),
    )


def _read_load(parsed: Parsed, load: JobBenchmark) -> None:
    """Note the load; of several the one that the configuration is for, where it is among them."""
    if not load.concurrencies:
        if parsed.record is not None:
            parsed.tell("schema", f"{RECIPE}: benchmark.concurrencies", "is missing")
        return
    config = parsed.facts.config
    wanted = None if config is None else config.concurrency
    users = wanted if wanted in load.concurrencies else load.concurrencies[0]
    place = f"{RECIPE}: benchmark"
    parsed.load = {
        "concurrency": Setting(f"{place}.concurrencies", users),
        "isl": Setting(f"{place}.isl", load.isl),
        "osl": Setting(f"{place}.osl", load.osl),
        "random_range_ratio": Setting(f"{place}.random_range_ratio", load.random_range_ratio),
    }


def is_job(content: object) -> bool:
    """Whether content is a recipe file of srt-slurm, in the layout that is read here."""
    return isinstance(content, dict) and {"model", "resources", "backend"} <= set(content)


def answer_of(text: str) -> dict[str, Any]:
    """Say what a recipe file deploys, as an answer does: machine, workload and configuration.

    Raises
    ------
    InputError
        Where it does not say all of it; the text names the field.
    """
    parsed = Parsed(None)
    read_slurm(parsed, {RECIPE: text})
    for finding in parsed.findings:
        if finding.severity == "error":
            raise InputError(f"{finding.field} {finding.problem}")
    job = parsed.read(RECIPE, Job)
    if len(parsed.workers) < len(ROLES):
        raise InputError(
            f"{RECIPE}: backend: has no options of prefill and decode workers of TensorRT-LLM, "
            "the only ones that a configuration is read from"
        )
    if not parsed.load:
        raise InputError(f"{RECIPE}: benchmark.concurrencies: is missing; give the users")
    prefill, decode = (parsed.workers[role] for role in ROLES)
    config = {
        "prefill_workers": job.resources.workers("prefill"),
        "prefill_gpus_per_worker": prefill.world.value,
        "prefill_attention": "dp" if prefill.attention_dp.value else "tp",
        "decode_workers": job.resources.workers("decode"),
        "decode_gpus_per_worker": decode.world.value,
        "decode_ep": decode.ep.value,
        "decode_attention": "dp" if decode.attention_dp.value else "tp",
        "max_batch": decode.batch.value,
        "mtp_depth": decode.depth.value,
        "eplb_slots": decode.slots.value,
        "concurrency": parsed.load["concurrency"].value,
    }
    scenario = {"precision": parsed.facts.precision, "isl": parsed.facts.isl}
    return {
        "sku": job.resources.gpu_type,
        "scenario": scenario | {"osl": parsed.facts.osl},
        "config": config,
    }
