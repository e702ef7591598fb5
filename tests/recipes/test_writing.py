"""What is written where: placement, engines and the way back to validate."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

import moeplan
from moeplan.options import Options
from moeplan.recipes.checks import failures
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.placement import lay_out, place_recipe
from moeplan.recipes.question import Request, recipe_for_configuration
from moeplan.recipes.recipe import Recipe, RoleName
from moeplan.recipes.sglang.files import DISPATCH, QUEUE_DEPTH
from moeplan.recipes.writing import ROW, check_files, recipe_files
from moeplan.render.placement import placement_lines
from tests.recipes.samples import answers, every_recipe, good, searched
from tests.samples import changed

pytestmark = pytest.mark.many_cases

AIPERF = {
    "time_to_first_token": {"unit": "ms", "avg": 300.0, "p50": 250.5, "p90": 400.0},
    "inter_token_latency": {"unit": "ms", "avg": 9.0, "p50": 8.0, "p90": 11.0},
    "total_token_throughput": {"unit": "tokens/sec", "avg": 200000.0},
}
"""Keys of AIPerf 0.13.0, as its JSON exporter writes them."""

SA_BENCH = {
    "mean_ttft_ms": 300.0,
    "median_ttft_ms": 250.5,
    "mean_tpot_ms": 9.0,
    "median_tpot_ms": 8.0,
    "total_token_throughput": 200000.0,
}
"""Keys of sa-bench, as srt-slurm 0.3.0 writes them."""


def recipe_of_shape(sku: str, format_name: str, model: str = "", **changes: Any) -> Recipe:
    options = Options(model=model) if model else Options()
    return recipe_for_configuration(sku, changed(**changes), options, Request(format_name))


def passing(recipe: Recipe) -> dict[str, str]:
    files = recipe_files(recipe)
    assert not failures(check_files(recipe, files))
    return files


def test_workers_of_one_server_need_no_compute_domain() -> None:
    for recipe, files in every_recipe("dynamo"):
        if recipe.machine.gpus_per_domain > recipe.machine.gpus_per_node:
            continue
        assert not {"compute-domain.yaml", "topology.yaml"} & set(files)
        assert "topologyConstraint" not in files["deployment.yaml"]


def test_workers_over_servers_of_one_domain_share_memory() -> None:
    for recipe, files in every_recipe("dynamo"):
        if recipe.machine.gpus_per_domain == recipe.machine.gpus_per_node:
            continue
        layout = lay_out(recipe)
        assert layout.pack == "deployment"
        assert {"compute-domain.yaml", "topology.yaml"} <= set(files)
        workers = yaml.safe_load(files["deployment.yaml"])["spec"]["components"][1:]
        for worker in workers:
            spec = worker["podTemplate"]["spec"]
            gpus = int(spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
            assert ("resourceClaims" in spec) == (gpus == 4)
            nodes = worker.get("multinode", {}).get("nodeCount", 1)
            assert gpus * nodes == recipe.gpus(worker["type"])


def test_a_deployment_over_two_domains_packs_each_worker() -> None:
    recipe = recipe_of_shape(
        "gb200", "dynamo", decode_workers=2, decode_gpus_per_worker=64, decode_ep=64
    )
    files = passing(recipe)
    deployment = yaml.safe_load(files["deployment.yaml"])["spec"]
    assert deployment["topologyConstraint"] == {"clusterTopologyName": "nvlink-domains"}
    prefill, decode = deployment["components"][1:]
    assert decode["topologyConstraint"] == {"packDomain": "nvlink-domain"}
    assert "topologyConstraint" not in prefill
    spoilt = yaml.safe_load(files["deployment.yaml"])
    del spoilt["spec"]["components"][2]["topologyConstraint"]
    found = failures(check_files(recipe, files | {"deployment.yaml": yaml.safe_dump(spoilt)}))
    assert [each.check for each in found] == ["topology"]


def test_a_worker_over_two_domains_packs_nothing() -> None:
    recipe = recipe_of_shape("gb200", "dynamo", decode_gpus_per_worker=128, decode_ep=128)
    assert lay_out(recipe).pack is None
    assert "topology.yaml" not in passing(recipe)


def test_files_and_answer_agree_on_where_workers_stand() -> None:
    for sku in ("b200", "gb200"):
        for answer, recipe in zip(answers(sku), searched(sku, "dynamo"), strict=True):
            layout, node = lay_out(recipe), recipe.machine.gpus_per_node
            assert place_recipe(recipe) == answer.placement
            one = len(answer.placement) == 1 and recipe.machine.nodes_per_domain > 1
            assert (layout.pack == "deployment") is one
            servers: dict[tuple[RoleName, int], list[int]] = {}
            for domain in answer.placement:
                for worker in domain.workers:
                    assert worker.role != "both"
                    found = servers.setdefault((worker.role, worker.worker), [])
                    found += [gpu // node for gpu in worker.gpu_numbers]
            for (role, _), numbers in servers.items():
                spread = layout.spread[role]
                counted = set(Counter(numbers).values())
                assert (len(set(numbers)), counted) == (spread.nodes, {spread.gpus_per_node})
            readme = recipe_files(recipe)["README.md"]
            assert all(f"- {line}\n" in readme for line in placement_lines(answer.placement))


def test_a_deployment_over_two_domains_is_not_packed_into_one() -> None:
    recipe = recipe_of_shape("gb200", "dynamo", decode_workers=3, decode_gpus_per_worker=32)
    assert [domain.free_gpus for domain in place_recipe(recipe)] == [4, 40]
    assert lay_out(recipe).pack == "worker"


def test_small_workers_alone_share_no_memory() -> None:
    recipe = recipe_of_shape(
        "gb300", "dynamo", prefill_gpus_per_worker=2, decode_gpus_per_worker=4, decode_ep=4
    )
    assert lay_out(recipe).claiming == ()
    assert "compute-domain.yaml" not in passing(recipe)


@pytest.mark.parametrize("name", ["dynamo", "trtllm", "slurm", "sglang", "vllm"])
@pytest.mark.parametrize(
    ("sku", "model", "changes"),
    [
        (
            "h100",
            "",
            {"decode_gpus_per_worker": 16, "decode_ep": 16, "prefill_gpus_per_worker": 16},
        ),
        ("h200", "", {"decode_attention": "tp", "decode_ep": 1, "prefill_gpus_per_worker": 8}),
        (
            "gb300",
            "gpt-oss-120b",
            {
                "decode_gpus_per_worker": 1,
                "decode_ep": 1,
                "mtp_depth": 0,
                "prefill_gpus_per_worker": 1,
                "prefill_workers": 3,
            },
        ),
        ("b300", "kimi-k2", {"mtp_depth": 0, "prefill_gpus_per_worker": 8}),
        (
            "b200",
            "qwen3-235b-a22b",
            {"mtp_depth": 0, "decode_attention": "tp", "decode_ep": 1, "decode_gpus_per_worker": 4},
        ),
    ],
)
def test_other_shapes_and_models(name: str, sku: str, model: str, changes: dict[str, Any]) -> None:
    assert passing(recipe_of_shape(sku, name, model, **changes))


def test_older_engines_get_their_own_names() -> None:
    recipe, _ = good("trtllm")
    old = recipe.model_copy(update={"engine_release": "1.2.0rc6"})
    files = passing(old)
    assert "num_nextn_predict_layers" in files["prefill.yaml"]
    assert "--extra_llm_api_options decode.yaml" in files["decode.sh"]
    spoilt = files | {"decode.yaml": files["decode.yaml"].replace("CUTEDSL", "WIDEEP")}
    assert not failures(check_files(old, spoilt))
    assert failures(check_files(recipe, spoilt))


def test_low_latency_kernels_get_steps_that_they_take() -> None:
    wide = next(
        each for each in searched("gb200", "sglang") if each.config.decode_gpus_per_worker == 32
    )
    # 600 tokens of a rank: more than the kernels' default, less than their most.
    changes = {"max_batch": 300, "mtp_depth": 1, "concurrency": 9600}
    recipe = wide.model_copy(update={"config": wide.config.model_copy(update=changes)})
    files = recipe_files(recipe)
    script = files["decode.sh"]
    tokens = recipe.config.max_batch * (1 + recipe.config.mtp_depth)
    assert f"export {DISPATCH}={tokens}\n" in script
    assert f"export {QUEUE_DEPTH}={2 * (tokens + 1)}\n" in script
    for old, new, field in (
        (f"{DISPATCH}={tokens}", f"{DISPATCH}={tokens - 1}", DISPATCH),
        (f"{DISPATCH}={tokens}", f"{DISPATCH}=2048", DISPATCH),
        (f"{DISPATCH}={tokens}", f"{DISPATCH}=many", DISPATCH),
        (f"{QUEUE_DEPTH}={2 * (tokens + 1)}", f"{QUEUE_DEPTH}=1024", QUEUE_DEPTH),
    ):
        spoilt = files | {"decode.sh": script.replace(old, new)}
        found = failures(check_files(recipe, spoilt))
        assert [each.check for each in found] == ["dispatch"]
        assert field in found[0].field
    changes = {"max_batch": 1024, "mtp_depth": 1, "concurrency": 32768}
    many = wide.model_copy(update={"config": wide.config.model_copy(update=changes)})
    assert "--moe-a2a-backend none" in recipe_files(many)["decode.sh"]


def test_measured_figures_go_back_to_validate(tmp_path: Path) -> None:
    recipe, files = good("dynamo")
    (head,), (cells,) = ([row] for row in csv.reader(files[ROW].splitlines()))
    measured = {"ttft_ms": "250.5", "tpot_ms": "8.0", "total_tok_s_per_gpu": "5000"}
    path = tmp_path / "measured.csv"
    path.write_text(
        "\n".join([",".join([*head, *measured]), ",".join([*cells, *measured.values()])]) + "\n"
    )
    validation = moeplan.validate(path)
    line = validation.lines()[0]
    assert recipe.prediction is not None
    assert line["predicted_tpot_ms"] == pytest.approx(recipe.prediction.tpot_ms, rel=0.2)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_commands_of_the_readme_make_that_row(format_name: str, tmp_path: Path) -> None:
    recipe, files = good(format_name)
    result = json.dumps(SA_BENCH if format_name == "slurm" else AIPERF)
    for name, text in (files | {"result.json": result}).items():
        (tmp_path / name).write_text(text)
    found = re.search(r"^jq .*?> measured.csv$", files["README.md"], re.MULTILINE | re.DOTALL)
    assert found is not None
    subprocess.run(["/bin/sh", "-c", found.group()], cwd=tmp_path, check=True)
    line = moeplan.validate(tmp_path / "measured.csv").lines()[0]
    assert (line["measured_tpot_is"], line["measured_ttft_is"]) == ("median", "median")
    assert (line["measured_tpot_ms"], line["measured_ttft_ms"]) == (8.0, 250.5)
    assert line["measured_total_tok_s_per_gpu"] == pytest.approx(200000 / recipe.config.gpus)


@pytest.mark.parametrize("format_name", ["dynamo", "sglang", "trtllm", "vllm"])
def test_the_benchmark_leaves_the_result_that_is_brought_back(format_name: str) -> None:
    text = good(format_name)[1]["README.md"]
    made = re.search(r"^.*result\.json$", text, re.MULTILINE)
    assert made is not None
    assert made.start() < text.index("jq -r")


def test_the_readme_says_what_a_reader_needs(format_name: str) -> None:
    for recipe, files in every_recipe(format_name)[::20]:
        text = files["README.md"]
        assert recipe.prediction is not None
        for wanted in (
            "## Configuration",
            "## Prediction",
            "90 % interval",
            "## Machine and placement",
            "## Apply",
            "## Is it healthy",
            "## Benchmark",
            "moeplan validate measured.csv",
            f"{recipe.config.concurrency} requests",
            f"{recipe.prediction.tok_s_per_user:,.1f}",
            "Extrapolated, in:" if recipe.prediction.origin == "extrapolated" else "Modelled",
        ):
            assert wanted in text
        assert "Calibrated on" not in text  # the origin says what rows cover
        assert text.count("```") % 2 == 0


def test_a_recipe_without_a_prediction_says_so() -> None:
    recipe, _ = good("slurm")
    files = recipe_files(recipe.model_copy(update={"prediction": None}))
    assert "None was made." in files["README.md"]


def test_the_document_lists_every_check() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "recipes.md").read_text("utf-8")
    used: dict[tuple[str, str], list[str]] = {}
    for name, each in FORMATS.items():
        for check in each.checks:
            used.setdefault((check.name, check.rule), []).append(name)
    for (name, rule), formats in used.items():
        told = "all" if formats == list(FORMATS) else ", ".join(f"`{each}`" for each in formats)
        assert f"| `{name}` | {told} | {rule} |" in text


@pytest.mark.parametrize("format_name", ["sglang", "trtllm", "vllm"])
def test_workers_of_one_server_have_ports_of_their_own(format_name: str) -> None:
    """Three workers of 4 GPUs on servers of 8: two to a server, told apart by SLOT."""
    recipe = recipe_of_shape(
        "b200", format_name, prefill_workers=3, prefill_gpus_per_worker=4,
        decode_workers=1, decode_gpus_per_worker=8, decode_ep=8,
    )  # fmt: skip
    files = passing(recipe)
    addresses = re.findall(r"prefill-(\d):(\d+)", "".join(files.values()))
    assert {("0", "8100"), ("1", "8200"), ("2", "8100")} <= set(addresses)
    assert '--port "$((8100 + 100 * SLOT))"' in files["prefill.sh"]
    assert "SLOT" not in files["decode.sh"]
    for line in (
        "SLOT=0 CUDA_VISIBLE_DEVICES=0,1,2,3 ./prefill.sh",
        "SLOT=1 CUDA_VISIBLE_DEVICES=4,5,6,7 ./prefill.sh",
    ):
        assert f"\n{line}\n" in files["README.md"]
    # What the shell makes of the script, with the program replaced by one that tells its words.
    text = re.sub(r"^exec .*?(--host)", r"exec echo \1", files["prefill.sh"], flags=re.M | re.S)
    told = {
        slot: re.search(
            r"--port (\d+)",
            subprocess.run(
                ["/bin/sh", "-c", text], env={"SLOT": slot, "PATH": os.environ["PATH"]},
                capture_output=True, text=True, check=True,
            ).stdout,
        )
        for slot in ("0", "1")
    }  # fmt: skip
    assert [found[1] for found in told.values() if found] == ["8100", "8200"]
    none = subprocess.run(["/bin/sh", "-c", text], env={}, capture_output=True, check=False)
    assert none.returncode


@pytest.mark.parametrize(
    ("name", "option"), [("sglang", "--enable-two-batch-overlap"), ("vllm", "--enable-dbo")]
)
def test_decode_overlaps_two_half_batches_where_that_was_predicted(name: str, option: str) -> None:
    wide = changed(
        prefill_workers=8,
        prefill_gpus_per_worker=8,
        decode_gpus_per_worker=32,
        decode_ep=32,
        mtp_depth=0,
        concurrency=100_000,
    )
    for batch, overlaps in ((8, False), (256, True)):
        asked = wide.model_copy(update={"max_batch": batch})
        options = Options(precision="fp8", engine=name)
        recipe = recipe_for_configuration("h200", asked, options, Request(name))
        scripts = passing(recipe)
        assert recipe.two_batches == overlaps
        assert (option in scripts["decode.sh"]) == overlaps
        assert option not in scripts["prefill.sh"]
