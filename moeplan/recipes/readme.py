"""The README of a recipe: what it is, what was predicted, and the commands that use it."""

from __future__ import annotations

import re
import shlex

from moeplan.recipes.dynamo import image_release
from moeplan.recipes.launch import PORTS, ROUTER_PORT
from moeplan.recipes.placement import lay_out, place_recipe
from moeplan.recipes.recipe import ROLES, Format, Recipe, RoleName
from moeplan.render.common import count
from moeplan.render.placement import placement_lines
from presets.engines import load_dynamo, load_engine

PROFILE = "profile_export_aiperf.json"
RESULT = "result.json"

AIPERF_KEYS = (
    ".time_to_first_token.p50",
    ".inter_token_latency.p50",
    ".total_token_throughput.avg",
)
"""Median TTFT, median TPOT and total tokens per second in what AIPerf writes (0.13.0,
common/models/export_models.py). Its inter-token latency is one figure per request: decode time over
tokens after the first, which is TPOT. Throughput is one figure of a run, which it calls ``avg``."""

RESULT_KEYS: dict[Format, tuple[str, str, str]] = {
    "slurm": (".median_ttft_ms", ".median_tpot_ms", ".total_token_throughput"),
}
"""The same where another program loads: sa-bench (srt-slurm 0.3.0, benchmark_serving.py)."""

TITLES = {
    "tok_s_per_user": ("Interactivity, tok/s/user", ",.1f"),
    "total_tok_s_per_gpu": ("Throughput, tok/s/GPU", ",.0f"),
    "usd_per_m_total_tokens": ("Cost, $ per million tokens", ".4f"),
    "tpot_ms": ("TPOT, ms", ",.2f"),
    "ttft_ms": ("TTFT, ms", ",.0f"),
}


def readme(recipe: Recipe) -> str:
    """Write the README of a recipe."""
    parts = [
        _head(recipe),
        _configuration(recipe),
        _prediction(recipe),
        _placement(recipe),
        *(_SECTIONS[recipe.format](recipe)),
        _back(recipe),
    ]
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """Write text that cannot leave its span of code.

    Examples
    --------
    >>> code("a`b")
    '`` a`b ``'
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    if not longest:
        return f"`{text}`"
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"


def prose(text: str) -> str:
    r"""Write text that is nothing but text.

    Examples
    --------
    >>> prose("a*b | <c>")
    'a\\*b \\| \\<c\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|!~&])", r"\\\1", text)


def block(*lines: str) -> str:
    """Write a block of commands, fenced by more backticks than it holds."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def rows(*cells: tuple[str, ...]) -> str:
    """Write a table; the first row is the head."""
    head, *rest = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in cells)
    return "\n".join([f"| {head} |", "|---" * len(cells[0]) + "|", *(f"| {row} |" for row in rest)])


def _head(recipe: Recipe) -> str:
    served, engine = recipe.served, load_engine(recipe.engine)
    machine = prose(recipe.machine.title)
    return (
        f"# {recipe.settings.name}\n\n"
        f"{code(recipe.settings.served_name)} in {served.precision} on {machine}, "
        f"{served.isl} tokens in, {served.osl} out, with {engine.title} {recipe.engine_release}. "
        f"Written by `moeplan recipe --format {recipe.format}`; `moeplan recipe check` judges this "
        "folder, also after it was edited by hand."
    )


def _configuration(recipe: Recipe) -> str:
    config = recipe.config
    holder = "rank" if config.decode_attention == "dp" else "worker"
    slots = str(config.eplb_slots) if config.eplb_slots else "none"
    return (
        "## Configuration\n\n"
        + rows(
            ("what", "value"),
            (
                "prefill",
                f"{config.prefill_workers} x {config.prefill_gpus_per_worker} GPUs, attention "
                f"{config.prefill_attention}",
            ),
            (
                "decode",
                f"{config.decode_workers} x {config.decode_gpus_per_worker} GPUs, EP "
                f"{config.decode_ep}, attention {config.decode_attention}",
            ),
            ("batch", f"{config.max_batch} requests per {holder}"),
            ("draft depth", str(config.mtp_depth)),
            ("expert slots", slots),
            ("concurrency", f"{config.concurrency} requests"),
            ("GPUs", str(config.gpus)),
        )
        + _stream_note(recipe)
    )


def _stream_note(recipe: Recipe) -> str:
    """Say what the measured recipes set for throughput, and people would not want."""
    interval = load_engine(recipe.engine).settings.get("stream_interval")
    if interval is None:
        return ""
    return (
        f"\n\nTokens are sent in groups of {interval.value:.0f} steps, as in the recipes that the "
        "model is calibrated on; set the stream interval to 1 where people read along."
    )


def _prediction(recipe: Recipe) -> str:
    prediction = recipe.prediction
    if prediction is None:
        return "## Prediction\n\nNone was made."
    table = [("figure", "predicted", "90 % interval")]
    for key, (title, digits) in TITLES.items():
        low, high = prediction.interval_90[key]
        value = getattr(prediction, key)
        table.append(
            (title, format(value, digits), f"{format(low, digits)} to {format(high, digits)}")
        )
    origin = "Modelled, inside the range of the calibration data."
    if prediction.origin == "extrapolated":
        origin = f"Extrapolated, in: {', '.join(prediction.extrapolated_in)}."
    if recipe.engine != "trtllm":
        title = load_engine(recipe.engine).title
        origin += f" Calibrated on TensorRT-LLM and not on {title}: measure before relying on it."
    price = f"at ${recipe.machine.usd_per_hour:.2f} per GPU-hour"
    return f"## Prediction\n\n{rows(*table)}\n\n{origin} Cost {price}."


def _placement(recipe: Recipe) -> str:
    machine, layout = recipe.machine, lay_out(recipe)
    lines = [
        f"{prose(machine.title)}: servers of {machine.gpus_per_node} GPUs "
        f"({machine.architecture}), NVLink domains of {machine.gpus_per_domain} GPUs."
    ]
    for role in ROLES:
        spread = layout.spread[role]
        lines.append(
            f"- {role}: {count(recipe.workers(role), 'worker')}, each on "
            f"{count(spread.nodes, 'node')}, {count(spread.gpus_per_node, 'GPU')} of it"
        )
    if layout.pack == "deployment":
        lines.append("- all workers in one NVLink domain, so that the KV cache moves over NVLink")
    if layout.pack == "worker":
        lines.append("- each worker inside one NVLink domain")
    if layout.claiming and set(layout.claiming) != set(ROLES):
        lines.append(
            "- workers smaller than a server share servers and claim no channel of the compute "
            "domain: their KV cache moves by NIC"
        )
    places = [f"- {line}" for line in placement_lines(place_recipe(recipe))]
    found = "Side by side, as the search places them on an empty cluster:"
    return "## Machine and placement\n\n" + "\n".join(
        [lines[0], "", *lines[1:], "", found, "", *places]
    )


def _dynamo(recipe: Recipe) -> list[str]:
    name, layout = recipe.settings.name, lay_out(recipe)
    space = f" -n {recipe.settings.namespace}" if recipe.settings.namespace else ""
    kubectl = f"kubectl{space}"
    names = [f"{role}-engine.yaml" for role in ROLES]
    names += ["compute-domain.yaml"] if layout.claiming else []
    before = []
    if layout.pack:
        before = ["# once per cluster, by its administrator", "kubectl apply -f topology.yaml"]
    apply = f"{kubectl} apply {' '.join(f'-f {each}' for each in [*names, 'deployment.yaml'])}"
    needs = (
        f"The cluster needs Dynamo {_dynamo_release(recipe)} with Grove, the storage claim "
        f"{code(recipe.settings.claim)} with the checkpoint at {code(recipe.settings.model_path)} "
        f"(mounted at /models)"
    )
    needs += ", and the DRA driver for GPUs (ComputeDomain)." if layout.claiming else "."
    if set(layout.claiming) != set(ROLES):
        needs += (
            " Caches move by NIC: add the RDMA resource of the cluster, which differs from one to "
            "the next, to the limits of the workers."
        )
    job = f"{name}-benchmark"
    return [
        f"## Apply\n\n{needs}\n\n" + block(*before, apply),
        "## Is it healthy\n\n"
        + block(
            f"{kubectl} wait dynamographdeployment/{name} --for=condition=Ready --timeout=2h",
            f"{kubectl} get pods -l nvidia.com/dynamo-graph-deployment-name={name} -o wide",
            f"{kubectl} port-forward service/{name}-frontend {ROUTER_PORT}:{ROUTER_PORT} &",
            f"curl -s localhost:{ROUTER_PORT}/health",
        ),
        "## Benchmark\n\n"
        + block(
            f"{kubectl} apply -f benchmark.yaml",
            f"{kubectl} wait job/{job} --for=condition=Complete --timeout=2h",
            f"{kubectl} logs job/{job} | sed -n '/^{{/,$p' > {RESULT}",
        ),
    ]


def _dynamo_release(recipe: Recipe) -> str:
    return image_release(recipe.settings.image) or load_dynamo().default_release


def _shared_servers(recipe: Recipe) -> str:
    """Say what workers need that share a server."""
    spread = lay_out(recipe).spread
    small = [r for r in ROLES if spread[r].gpus_per_node < recipe.machine.gpus_per_node]
    if not small:
        return ""
    return (
        f" Where several workers share a server ({', '.join(small)}), give each its GPUs by "
        "CUDA_VISIBLE_DEVICES and a port of its own."
    )


def _workers(recipe: Recipe, role: RoleName) -> str:
    """Name the workers of a role."""
    number = recipe.workers(role)
    return f"{role}-0" if number == 1 else f"each of {role}-0 to {role}-{number - 1}"


def _scripts(recipe: Recipe) -> list[str]:
    layout = lay_out(recipe)
    starts = []
    for role in ROLES:
        nodes = layout.spread[role].nodes
        where, start = "on its node", f"./{role}.sh"
        if nodes > 1:
            where = f"on each of its {nodes} nodes, with its rank from 0 to {nodes - 1}"
            start = f"NODE_RANK=0 LEADER={role}-0 {start}"
        starts += [f"# {_workers(recipe, role)}: {where}", start]
    return [
        "## Apply\n\n"
        f"Every node needs {code(recipe.settings.image)} and the checkpoint at "
        f"{code(recipe.settings.model_path)}. The names prefill-0, decode-0 and so on stand for "
        "the first node of each worker: let them resolve, or edit router.sh."
        + _shared_servers(recipe)
        + "\n\n"
        + block(*starts, "# where clients ask", "./router.sh"),
        _healthy(),
        _run_benchmark(),
    ]


def _trtllm(recipe: Recipe) -> list[str]:
    starts = []
    for role in ROLES:
        starts += [f"# once for {_workers(recipe, role)}", f"./{role}.sh"]
    return [
        "## Apply\n\nThe scripts start one worker each, by Slurm. The names prefill-0, decode-0 "
        "and so on in router.yaml stand for the first node of each worker: let them resolve, or "
        f"edit the file.{_shared_servers(recipe)}\n\n"
        + block(*starts, "# where clients ask", "trtllm-serve disaggregated -c router.yaml"),
        _healthy(),
        _run_benchmark(),
    ]


def _slurm(recipe: Recipe) -> list[str]:
    served, users = recipe.served, recipe.config.concurrency
    folder = f"outputs/JOB/logs/sa-bench_isl_{served.isl}_osl_{served.osl}"
    found = f"{folder}/results_concurrency_{users}_gpus_*.json"
    return [
        "## Apply\n\nThe recipe is in the layout that srt-slurm reads without `schema: 2`; newer "
        "releases turn it into theirs with `srtctl migrate`. It serves, waits until the workers "
        "are healthy, and benchmarks.\n\n"
        + block("srtctl dry-run -f recipe.yaml", "srtctl apply -f recipe.yaml"),
        "## Is it healthy\n\n" + block("squeue -u $USER", "tail -f outputs/*/logs/*.out"),
        "## Benchmark\n\nThe job runs sa-bench at the concurrency of the configuration, and leaves "
        "its result among the logs; JOB is the number of the job.\n\n"
        + block(f"cp {found} {RESULT}"),
    ]


def _healthy() -> str:
    ports = ", ".join(f"{port} ({role})" for role, port in PORTS.items())
    return (
        f"## Is it healthy\n\nWorkers answer on the ports {ports}, the router on {ROUTER_PORT}.\n\n"
        + block(f"curl -s localhost:{ROUTER_PORT}/health")
    )


def _run_benchmark() -> str:
    release = load_dynamo().aiperf_release
    return "## Benchmark\n\n" + block(
        f"pip install aiperf=={release}", "./benchmark.sh", f"cp results/{PROFILE} {RESULT}"
    )


_SECTIONS = {
    "dynamo": _dynamo,
    "sglang": _scripts,
    "slurm": _slurm,
    "trtllm": _trtllm,
    "vllm": _scripts,
}


def _back(recipe: Recipe) -> str:
    """Join what was run and what was measured into a row that validate reads.

    Medians over requests, each in the column of medians: the statistic of every published row.
    """
    ttft, tpot, throughput = RESULT_KEYS.get(recipe.format, AIPERF_KEYS)
    program = (
        '"ttft_median_ms,tpot_median_ms,total_tok_s_per_gpu", '
        f"([{ttft}, {tpot}, {throughput} / {recipe.config.gpus}] | @csv)"
    )
    return (
        "## Bring the result back\n\nconfiguration.csv holds what was run; the measured medians go "
        "beside it.\n\n"
        + block(
            f"jq -r {shlex.quote(program)} {RESULT} \\",
            "  | paste -d, configuration.csv - > measured.csv",
            "moeplan validate measured.csv",
        )
    )
