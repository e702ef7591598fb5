"""The formats: how each is written, read, checked and explained. A new one is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from moeplan.recipes.checks import Check
from moeplan.recipes.checks_worker import WORKER_CHECKS
from moeplan.recipes.dynamo.checks import DYNAMO_CHECKS
from moeplan.recipes.dynamo.files import dynamo_files, dynamo_guide
from moeplan.recipes.dynamo.reading import read_dynamo
from moeplan.recipes.launch import script_guide
from moeplan.recipes.parsed import Parsed
from moeplan.recipes.recipe import Recipe
from moeplan.recipes.sglang.checks import SGLANG_CHECKS
from moeplan.recipes.sglang.files import read_sglang, sglang_files
from moeplan.recipes.slurm.checks import SLURM_CHECKS
from moeplan.recipes.slurm.files import SA_BENCH_KEYS, slurm_files, slurm_guide
from moeplan.recipes.slurm.reading import read_slurm
from moeplan.recipes.trtllm.checks import TRTLLM_CHECKS
from moeplan.recipes.trtllm.launch import LAUNCH_CHECKS, read_trtllm, trtllm_files, trtllm_guide
from moeplan.recipes.vllm.checks import VLLM_CHECKS
from moeplan.recipes.vllm.files import read_vllm, vllm_files

AIPERF_KEYS = (
    ".time_to_first_token.p50",
    ".inter_token_latency.p50",
    ".total_token_throughput.avg",
)
"""Median TTFT, median TPOT and total tokens per second in what AIPerf writes (0.13.0,
common/models/export_models.py). Its inter-token latency is one figure per request: decode time over
tokens after the first, which is TPOT. Throughput is one figure of a run, which it calls ``avg``."""

SCRIPTS = frozenset({"prefill.sh", "decode.sh", "worker.sh", "router.sh", "benchmark.sh"})
STARTS = ("decode.sh", "worker.sh")


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    name, engine : str
        What it is called, and the engine that it starts.
    mark : tuple
        Files, and text in one of them, that files of no other format have.
    files : frozenset of str
        Every file that it may write.
    write : callable
        Gives the text of each file of a recipe.
    read : callable
        Reads files into documents and settings.
    checks : tuple of Check
        In the order in which they are told.
    guide : callable
        Gives the sections of the README that say how the files are used.
    one_pool : bool
        Whether it starts workers that prefill what they decode.
    kubernetes : bool
        Whether namespaces, claims and secrets mean something in it.
    ships_dynamo : bool
        Whether its image is one of Dynamo, that ships the engine.
    result_keys : tuple of str
        Median TTFT, median TPOT [ms] and total throughput [token/s] in the result of its benchmark,
        as jq finds them.
    """

    name: str
    engine: str
    mark: tuple[tuple[str, ...], str]
    files: frozenset[str]
    write: Callable[[Recipe], dict[str, str]]
    read: Callable[[Parsed, Mapping[str, str]], None]
    checks: tuple[Check, ...]
    guide: Callable[[Recipe], list[str]]
    one_pool: bool = False
    kubernetes: bool = False
    ships_dynamo: bool = False
    result_keys: tuple[str, str, str] = AIPERF_KEYS


_FORMATS = (
    Format(
        name="dynamo",
        engine="trtllm",
        mark=(("deployment.yaml",), "DynamoGraphDeployment"),
        files=frozenset(
            {
                "benchmark.yaml",
                "compute-domain.yaml",
                "decode-engine.yaml",
                "deployment.yaml",
                "prefill-engine.yaml",
                "topology.yaml",
            }
        ),
        write=dynamo_files,
        read=read_dynamo,
        checks=(*WORKER_CHECKS, *TRTLLM_CHECKS, *DYNAMO_CHECKS),
        guide=dynamo_guide,
        kubernetes=True,
        ships_dynamo=True,
    ),
    Format(
        name="sglang",
        engine="sglang",
        mark=(STARTS, "sglang.launch_server"),
        files=SCRIPTS,
        write=sglang_files,
        read=read_sglang,
        checks=(*WORKER_CHECKS, *SGLANG_CHECKS),
        guide=script_guide,
        one_pool=True,
    ),
    Format(
        name="slurm",
        engine="trtllm",
        mark=(("recipe.yaml",), "resources:"),
        files=frozenset({"recipe.yaml"}),
        write=slurm_files,
        read=read_slurm,
        checks=(*WORKER_CHECKS, *TRTLLM_CHECKS, *SLURM_CHECKS),
        guide=slurm_guide,
        ships_dynamo=True,
        result_keys=SA_BENCH_KEYS,
    ),
    Format(
        name="trtllm",
        engine="trtllm",
        mark=(STARTS, "trtllm-serve"),
        files=frozenset({"benchmark.sh", "decode.sh", "decode.yaml", "prefill.sh"})
        | {"prefill.yaml", "router.yaml", "worker.sh", "worker.yaml"},
        write=trtllm_files,
        read=read_trtllm,
        checks=(*WORKER_CHECKS, *TRTLLM_CHECKS, *LAUNCH_CHECKS),
        guide=trtllm_guide,
        one_pool=True,
    ),
    Format(
        name="vllm",
        engine="vllm",
        mark=(STARTS, "vllm serve"),
        files=SCRIPTS,
        write=vllm_files,
        read=read_vllm,
        checks=(*WORKER_CHECKS, *VLLM_CHECKS),
        guide=script_guide,
        one_pool=True,
    ),
)

FORMATS: dict[str, Format] = {each.name: each for each in _FORMATS}
"""Every format by its name, sorted."""


def format_of(files: Mapping[str, str]) -> Format | None:
    """Find the format of files that have no record; None where they are of none."""
    for each in FORMATS.values():
        names, text = each.mark
        if any(text in files.get(name, "") for name in names):
            return each
    return None
