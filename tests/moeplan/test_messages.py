"""What is refused is refused in one short sentence: the field, its value, and what would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from presets.errors import LONGEST_MESSAGE
from tests.samples import USUAL

if TYPE_CHECKING:
    from tests.samples import Command, Run

LONG = "x" * 5000

# What a configuration says, and on which machine; then the field, the value, and what would do.
CONFIGURATIONS: dict[str, tuple[list[str], dict[str, Any], tuple[str, str, str]]] = {
    "ep": ([], {"decode_ep": 3}, ("decode_ep", "3", "give 1, 2, 4 or 8")),
    "slots": ([], {"eplb_slots": 260}, ("decode_ep", "260", "give eplb_slots 264")),
    "few slots": ([], {"eplb_slots": 10}, ("eplb_slots", "10", "at least the 256")),
    "depth": ([], {"mtp_depth": 99}, ("mtp_depth", "99", "less than or equal to")),
    "batch": ([], {"max_batch": 0}, ("max_batch", "0", "greater than or equal to 1")),
    "attention": ([], {"decode_attention": "pp"}, ("decode_attention", "'pp'", "'tp' or 'dp'")),
    "serving": ([], {"serving": "x"}, ("serving", "'x'", "'disaggregated'")),
    "users": ([], {"concurrency": 10**9}, ("concurrency", "1000000000", "equal to 1000000")),
    "workers": ([], {"decode_workers": 60_000}, ("config", "480,004 GPUs", "at most 131,072")),
    "weights": (
        [],
        {"decode_gpus_per_worker": 1, "decode_ep": 1},
        ("decode_gpus_per_worker", "1", "use more GPUs per worker"),
    ),
    "prefill weights": (
        [],
        {"prefill_gpus_per_worker": 1},
        ("prefill_gpus_per_worker", "1", "use more GPUs per worker"),
    ),
    "heads": (
        [],
        {"decode_attention": "tp", "decode_gpus_per_worker": 12, "decode_ep": 12},
        ("decode_ep", "12", "give eplb_slots 264"),
    ),
    "prefill heads": (
        [],
        {"prefill_attention": "tp", "prefill_gpus_per_worker": 5},
        ("prefill_gpus_per_worker", "5", "give 1, 2, 4, 8, 16, 32, 64 or 128, or dp"),
    ),
    "split experts": (
        [],
        {"decode_gpus_per_worker": 12, "decode_ep": 4},
        ("decode_ep", "4 over 12 GPUs", "give decode_ep 12"),
    ),
    "no drafts": (["--model", "gpt-oss-120b"], {}, ("mtp_depth", "1", "use 0")),
    "unknown key": ([], {"decode_epp": 8}, ("decode_epp", "is not a known key", "'decode_ep'")),
    "long value": ([], {"mtp_depth": LONG}, ("mtp_depth", "(5002 characters)", "give")),
    "long key": ([], {LONG: 1}, ("key x", "is not a known key", "valid: ")),
}

BEST = ("best", "--sku", "b200", "--target", "50")
OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, str, str]]] = {
    "long target": (
        ("best", "--sku", "b200", "--target", LONG),
        ("--target", "(5002 characters)", "finite number above 0"),
    ),
    "long machine": (
        ("best", "--sku", LONG, "--target", "5"),
        ("hardware", "(5002 characters)", "valid: b200"),
    ),
    "long model": ((*BEST, "--model", LONG), ("model", "(5002 characters)", "path to a config")),
    "long preset": (("presets", "show", LONG), ("preset", "(5002 characters)", "valid: ")),
    "long targets": (
        ("curve", "--sku", "b200", "--targets", ",".join(["y" * 300] * 20)),
        ("--targets", "(302 characters)", "finite number"),
    ),
    "long command": ((LONG,), ("command", "xxx...xxx", "valid: best, calibrate")),
    "long option": (
        (*BEST, f"--{LONG}"),
        ("option", "xxx...xxx", "moeplan best --help lists the valid ones"),
    ),
    "command": (("bset",), ("command", "'bset'", "did you mean 'best'?")),
    "command of a group": (("presets", "lst"), ("command", "'lst'", "did you mean 'list'?")),
    "no command": (("presets",), ("presets", "no command is given", "give list, show, as in")),
    "option": ((*BEST, "--targt", "3"), ("option", "'--targt'", "did you mean '--target'?")),
    "option of a group": (("presets", "--foo"), ("option", "'--foo'", "moeplan presets --help")),
    "no option": (("best",), ("--target", "none is given", "give --target TOK/S")),
    "no argument": (
        ("recipe", "diff", "x"),
        ("B", "none is given", "give moeplan recipe diff A B"),
    ),
    "no value": (("best", "--target"), ("--target", "has no value", "give --target TOK/S")),
    "a value of a switch": ((*BEST, "--json=1"), ("--json", "takes no value", "--json alone")),
    "arguments too many": (
        ("topology", "show", "b200", LONG),
        ("moeplan topology show", "(b200 xxx", "leave it out, or name its option, such as --sku"),
    ),
    "argument too many": (("presets", "list", "x"), ("presets list", "(x)", "leave it out")),
    "prefill machine": (
        (*BEST, "--prefill-sku", "b20"),
        ("prefill_sku", "'b20'", "did you mean 'b200'"),
    ),
    "few GPUs": ((*BEST, "--max-gpus", "3"), ("max_gpus", "3", "takes 8; give that or more")),
    "no rate": ((*BEST, "--objective", "gpus"), ("rate", "none is given", "requests per second")),
    "objective": ((*BEST, "--objective", "cheap"), ("--objective", "'cheap'", "valid: cost")),
    "billing": ((*BEST, "--billing", "rack"), ("--billing", "'rack'", "valid: domain, gpu")),
    "confidence": ((*BEST, "--min-confidence", "2"), ("min_confidence", "2", "0.5 to 0.999")),
    "GPUs": (
        ("topology", "show", "--sku", "b200", "--gpus", "3x"),
        ("--gpus", "'3x'", "a whole number from 1 to 131072"),
    ),
    "format": (
        ("recipe", "--sku", "b200", "--target", "50", "--format", "k8s", "--output", "q"),
        ("--format", "'k8s'", "valid: dynamo"),
    ),
}


def assert_refused(run: Run, parts: tuple[str, str, str]) -> None:
    """One line that names field, value and what would do, and nothing drawn before it."""
    assert run.status == 2
    assert run.out == ""
    assert run.err.startswith("Error: ")
    assert run.err.count("\n") == 1
    assert len(run.err) <= LONGEST_MESSAGE
    for part in parts:
        assert part in run.err


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_configurations(command: Command, tmp_path: Path, case: str) -> None:
    options, values, parts = CONFIGURATIONS[case]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(USUAL | values))
    assert_refused(command("predict", "--sku", "b200", "--config", str(path), *options), parts)


@pytest.mark.parametrize("case", OPTIONS)
def test_options(command: Command, case: str) -> None:
    arguments, parts = OPTIONS[case]
    assert_refused(command(*arguments), parts)


def test_a_cluster_that_is_too_small(command: Command, tmp_path: Path) -> None:
    cluster, config = tmp_path / "cluster.yaml", tmp_path / "config.json"
    cluster.write_text("sku: b200\ngpus: 3\n")
    config.write_text(json.dumps(USUAL))
    asked = ("predict", "--cluster", str(cluster), "--config", str(config))
    assert_refused(command(*asked), ("asks for 12 GPUs", "has 3", "gpus 12 in a cluster file"))
    best = command("best", "--cluster", str(cluster), "--target", "50", "--robust", "--explain")
    assert_refused(best, ("gpus 3", "no decode worker", "give more gpus"))
