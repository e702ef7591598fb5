"""The recipe file of srt-slurm, in the layout that it reads without ``schema: 2``."""

from __future__ import annotations

from typing import Any

from moeplan.recipes.benchmark import RESULT, ROUNDS, SHORTEST, WARMUP_ROUNDS
from moeplan.recipes.dynamo.files import WORKER_ENV
from moeplan.recipes.markdown import block, code
from moeplan.recipes.placement import lay_out
from moeplan.recipes.recipe import ROLES, Recipe
from moeplan.recipes.trtllm.engine import engine_files
from moeplan.recipes.yaml_text import yaml_text

RECIPE = "recipe.yaml"

SA_BENCH_KEYS = (".median_ttft_ms", ".median_tpot_ms", ".total_token_throughput")
"""Median TTFT, median TPOT and total tokens per second in what sa-bench writes (srt-slurm 0.3.0,
benchmark_serving.py)."""


def slurm_files(recipe: Recipe) -> dict[str, str]:
    """Write the recipe file."""
    engines = engine_files(recipe)
    spread = lay_out(recipe).spread
    node = recipe.machine.gpus_per_node
    resources: dict[str, Any] = {"gpu_type": recipe.machine.sku, "gpus_per_node": node}
    for role in ROLES:
        workers, gpus = recipe.workers(role), recipe.gpus(role)
        resources |= {
            f"{role}_nodes": role_nodes(workers, gpus, node),
            f"{role}_workers": workers,
            f"gpus_per_{role}": spread[role].nodes * spread[role].gpus_per_node,
        }
    content = {
        "name": recipe.settings.name,
        "model": {
            "path": recipe.settings.model_path,
            "container": recipe.settings.image,
            "precision": recipe.served.precision,
        },
        "resources": resources,
        "health_check": {"max_attempts": 720, "interval_seconds": 10},
        "backend": {
            "type": "trtllm",
            "prefill_environment": WORKER_ENV,
            "decode_environment": WORKER_ENV,
            "trtllm_config": {role: engines[role].content() for role in ROLES},
        },
        "frontend": {"type": "dynamo", "enable_multiple_frontends": False},
        # Without it srtctl installs a release of its own over that of the image.
        "dynamo": {"install": False},
        "benchmark": {
            "type": "sa-bench",
            "isl": recipe.served.isl,
            "osl": recipe.served.osl,
            "concurrencies": [recipe.config.concurrency],
            "req_rate": "inf",
            "random_range_ratio": SHORTEST,
            "num_prompts_mult": ROUNDS,
            "num_warmup_mult": WARMUP_ROUNDS,
            "use_chat_template": True,
        },
    }
    return {RECIPE: yaml_text(content)}


def role_nodes(workers: int, gpus: int, node: int) -> int:
    """Count the servers of a role: whole ones for large workers, shared ones for small.

    Parameters
    ----------
    workers, gpus, node : int
        Workers, GPUs of one, GPUs of a server.

    Examples
    --------
    >>> role_nodes(3, 4, 8), role_nodes(3, 16, 8)
    (2, 6)
    """
    if gpus >= node:
        return workers * -(-gpus // node)
    return -(-workers // (node // gpus))


def slurm_guide(recipe: Recipe) -> list[str]:
    """Say how the file is used."""
    served, users = recipe.served, recipe.config.concurrency
    folder = f"outputs/JOB/logs/sa-bench_isl_{served.isl}_osl_{served.osl}"
    found = f"{folder}/results_concurrency_{users}_gpus_*.json"
    return [
        "## Apply\n\nThe recipe is in the layout that srt-slurm reads without `schema: 2`; newer "
        "releases turn it into theirs with `srtctl migrate`. It runs the Dynamo that "
        f"{code(recipe.settings.image)} holds (`dynamo.install: false`); for an image without one, "
        "give `dynamo.version` instead. It serves, waits until the workers are healthy, and "
        "benchmarks.\n\n" + block("srtctl dry-run -f recipe.yaml", "srtctl apply -f recipe.yaml"),
        "## Is it healthy\n\n" + block("squeue -u $USER", "tail -f outputs/*/logs/*.out"),
        "## Benchmark\n\nThe job runs sa-bench at the concurrency of the configuration, and leaves "
        "its result among the logs; JOB is the number of the job.\n\n"
        + block(f"cp {found} {RESULT}"),
    ]
