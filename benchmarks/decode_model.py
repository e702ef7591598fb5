"""How many worker configurations per second the decode model evaluates on one core.

Run: ``.venv/bin/python benchmarks/decode_model.py``. Prints the best of several runs.
"""

from __future__ import annotations

import time

import numpy as np

from costmodel.calibration_file import load_calibration
from costmodel.counts import machine_arrays, model_arrays, path_arrays
from costmodel.decode import decode_step
from costmodel.deployments import traits_of
from costmodel.engine_rules import exchange_of
from costmodel.inputs import WorkerArrays
from costmodel.resolve import resolve
from costmodel.results import Scenario
from costmodel.workload import Workload
from presets import default_cluster, load_model
from topology import group_table

STATES = 1_000_000
BLOCK = 20_000  # states at a time: the arrays of a block stay in the cache of a core
RUNS = 5


def evaluate(states: int, block: int) -> float:
    """Seconds that one pass over random states takes."""
    model, cluster = load_model("deepseek-r1-0528"), default_cluster("gb200", 72)
    machine = machine_arrays(cluster.hardware(), model, "fp4")
    counts = model_arrays(model, "fp4")
    paths = path_arrays(group_table(cluster, [32])[32])
    scenario = Scenario(model=model)
    constants = resolve(load_calibration(), traits_of(scenario, cluster))
    workload = Workload(np.asarray(1024.0), np.asarray(1024.0))
    random = np.random.default_rng(0)
    depth = random.integers(0, 4, states).astype(float)
    requests = random.integers(1, 512, states).astype(float)
    attention_dp = random.random(states) < 0.5
    started = time.perf_counter()
    for first in range(0, states, block):
        part = slice(first, first + block)
        workers = WorkerArrays(
            gpus=np.asarray(32.0),
            ep=np.asarray(32.0),
            attention_dp=attention_dp[part],
            mtp_depth=depth[part],
            drafts_kept=depth[part],
            kept_as_given=np.asarray(False),
            eplb_slots=np.asarray(288.0),
            context=workload.context,
            **{name: np.asarray(has) for name, has in exchange_of("trtllm").items()},
        )
        total = decode_step(machine, counts, workers, paths, requests[part], constants).total
        assert np.isfinite(total).all()
    return time.perf_counter() - started


if __name__ == "__main__":
    best = min(evaluate(STATES, BLOCK) for _ in range(RUNS))
    print(f"{STATES / best / 1e6:.2f} million worker configurations per second ({best:.2f} s)")
