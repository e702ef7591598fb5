"""The named checks of a recipe: what each demands, and which recipes it judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from moeplan.recipes import checks_dynamo, checks_engine, checks_launch, checks_trtllm
from moeplan.recipes.parsed import Finding, Parsed
from moeplan.recipes.recipe import FORMATS, Format

Status = Literal["passed", "failed", "warned", "skipped"]
Found = Iterable[tuple[str, str]]
TRTLLM: tuple[Format, ...] = ("dynamo", "slurm", "trtllm")
SCRIPTS: tuple[Format, ...] = ("sglang", "trtllm", "vllm")


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name, rule : str
        What it is called, and what it demands.
    run : callable or None
        Gives field and problem of each breach; None where reading tells the breaches.
    formats : tuple of str
        Formats that it judges.
    warns : bool
        Whether a breach is told without failing the recipe.
    """

    name: str
    rule: str
    run: Callable[[Parsed], Found] | None = None
    formats: tuple[Format, ...] = FORMATS
    warns: bool = False


@dataclass(frozen=True)
class Result:
    """How one check ended.

    Attributes
    ----------
    check : Check
    status : {"passed", "failed", "warned", "skipped"}
        Skipped where what it judges could not be read.
    findings : tuple of Finding
    """

    check: Check
    status: Status
    findings: tuple[Finding, ...]


CHECKS: tuple[Check, ...] = (
    Check("files", "every file of the format is there"),
    Check("schema", "every document has known fields only, each of its type"),
    Check("options", "every option of a command is one that the program takes, once"),
    Check(
        "world-size",
        "GPUs per pod x nodes = tensor x pipeline x context parallel",
        checks_engine.world,
    ),
    Check("sums", "workers and their GPUs are those of the configuration", checks_engine.sums),
    Check("nodes", "a worker fits its server, or fills whole servers", checks_engine.nodes),
    Check(
        "experts", "expert tp x EP = tp, and EP is that of the configuration", checks_engine.experts
    ),
    Check("slots", "EP divides the expert slots, at least one per expert", checks_engine.slots),
    Check(
        "attention",
        "attention of both roles is as configured, and tp divides the heads",
        checks_engine.attention,
    ),
    Check("batch", "the largest batch is that of the configuration", checks_engine.batch),
    Check(
        "tokens",
        "a step holds the batch with its drafts, or the longest input",
        checks_engine.tokens,
    ),
    Check("sequence", "the longest sequence holds input and output", checks_engine.sequence),
    Check("drafts", "both roles draft as deep as the configuration", checks_engine.drafts),
    Check("model", "both roles serve one checkpoint under one name", checks_engine.model),
    Check("load", "the load is that of the configuration and the workload", checks_engine.load),
    Check(
        "cuda-graph",
        "no recorded batch is above the largest batch",
        checks_engine.graphs,
        warns=True,
    ),
    Check(
        "transceiver",
        "one back-end on both roles; the buffer holds the longest input in whole blocks",
        checks_trtllm.transceiver,
        TRTLLM,
    ),
    Check("release", "the engine release knows key and back-end", checks_trtllm.release, TRTLLM),
    Check(
        "scheduler",
        "prefill runs without the overlap scheduler",
        checks_trtllm.scheduler,
        TRTLLM,
    ),
    Check("cache", "both roles keep one type of KV cache", checks_launch.cache),
    Check(
        "components",
        "one frontend, one prefill, one decode component, of different names",
        checks_dynamo.components,
        ("dynamo",),
    ),
    Check(
        "containers",
        "every pod has a container named main; workers start their role",
        checks_dynamo.containers,
        ("dynamo",),
    ),
    Check("names", "names leave room for those of the pods", checks_dynamo.names, ("dynamo",)),
    Check(
        "images",
        "workers share an image, and admission finds its release",
        checks_dynamo.images,
        ("dynamo",),
    ),
    Check(
        "references",
        "every volume, mount, config map and claim that is named exists",
        checks_dynamo.references,
        ("dynamo",),
    ),
    Check(
        "compute-domain",
        "workers over several servers of an NVLink domain claim its channel, whole servers each",
        checks_dynamo.compute_domain,
        ("dynamo",),
    ),
    Check(
        "topology",
        "what shares memory over NVLink is packed into one NVLink domain, and fits",
        checks_dynamo.topology,
        ("dynamo",),
    ),
    Check(
        "architecture",
        "pods ask for the processor of the machine",
        checks_dynamo.architecture,
        ("dynamo",),
    ),
    Check("job", "nodes of the job are those that its workers fill", checks_launch.job, ("slurm",)),
    Check("ranks", "launch options of a worker agree with its size", checks_launch.ranks, SCRIPTS),
    Check("ports", "addresses carry the ports that are listened on", checks_launch.ports, SCRIPTS),
    Check(
        "transfer",
        "both roles move the KV cache by one back-end",
        checks_launch.transfer,
        ("sglang", "vllm"),
    ),
    Check(
        "dispatch",
        "a rank dispatches no more tokens at once than the kernels take",
        checks_launch.dispatch,
        ("sglang",),
    ),
)


def run_checks(parsed: Parsed) -> list[Result]:
    """Run every check that judges a recipe of this format."""
    return [_result(check, parsed) for check in CHECKS if parsed.recipe.format in check.formats]


def failures(results: Iterable[Result]) -> list[Finding]:
    """Pick the findings that a recipe cannot be written or run with."""
    return [
        finding for result in results for finding in result.findings if finding.severity == "error"
    ]


def _result(check: Check, parsed: Parsed) -> Result:
    if check.run is None:
        found = [finding for finding in parsed.findings if finding.check == check.name]
    else:
        try:
            breaches = list(check.run(parsed))
        except checks_engine.Unreadable:
            return Result(check, "skipped", ())
        severity: Literal["error", "warning"] = "warning" if check.warns else "error"
        found = [Finding(check.name, field, problem, severity) for field, problem in breaches]
    status: Status = "passed"
    if found:
        status = "warned" if check.warns else "failed"
    return Result(check, status, tuple(found))
