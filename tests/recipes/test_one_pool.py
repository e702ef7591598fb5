"""Recipes of workers that prefill what they decode: written, read back, edited and refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from moeplan.recipes.checks import failures
from moeplan.recipes.command_line import read_script
from moeplan.recipes.diff import compare_recipes
from moeplan.recipes.directory import read_any, write_recipe
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.sglang.files import SERVER
from moeplan.recipes.writing import (
    RECORD,
    ROW,
    check_files,
    check_foreign,
    parse_files,
    recipe_files,
)
from moeplan.recipes.yaml_text import yaml_text
from presets import read_measured_rows
from presets.engines import load_engine
from tests.recipes.samples import ONE_POOL_FORMATS, good, one_pool
from tests.recipes.strict import engine_validator, sglang_errors
from tests.samples import Command

SHAPES: dict[str, dict[str, Any]] = {
    "two dp workers": {},
    "one worker": {"decode_workers": 1, "concurrency": 250},
    "four tp workers, two to a server": {
        "decode_workers": 4,
        "decode_gpus_per_worker": 4,
        "decode_ep": 4,
        "decode_attention": "tp",
        "mtp_depth": 0,
        "concurrency": 100,
    },
    "over servers and domains": {
        "decode_gpus_per_worker": 16,
        "decode_ep": 16,
        "eplb_slots": 288,
        "concurrency": 1000,
    },
    "over servers of one domain": {
        "sku": "gb200",
        "decode_gpus_per_worker": 16,
        "decode_ep": 16,
        "concurrency": 1000,
    },
    "fp8 across domains": {
        "precision": "fp8",
        "decode_gpus_per_worker": 16,
        "decode_ep": 16,
        "concurrency": 1000,
    },
    "longest inputs": {"isl": 8192, "max_batch": 8, "concurrency": 100},
    "cached inputs": {"cached_share": 0.5},
}
HANDOVER = ("disaggregation", "kv-transfer", "SIDE_CHANNEL", "transceiver", "prefill.sh", "STAGING")


@pytest.fixture(params=ONE_POOL_FORMATS)
def able(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def words_of(files: dict[str, str]) -> list[str]:
    """Words of the worker's command, as a shell makes them for the first worker of a server."""
    text = re.sub(r"\$\(\((\d+) .*?\)\)", r"\1", files["worker.sh"])
    return read_script(text.replace("$NODE_RANK", "0"))[0]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_what_is_written_is_read_back_and_passes(able: str, shape: dict[str, Any]) -> None:
    recipe, files = one_pool(able, **shape)
    results = check_files(recipe, files)
    assert {each.status for each in results} == {"passed"}, failures(results)
    assert {each.check.name for each in results}.isdisjoint({"environment", "scheduler", "cache"})
    config, worker = recipe.config, parse_files(recipe, files).workers["decode"]
    assert worker.world.value == config.decode_gpus_per_worker
    assert worker.ep.value == config.decode_ep
    assert worker.batch.value == config.max_batch
    assert worker.depth.value == config.mtp_depth
    assert worker.sequence.value >= recipe.served.isl + recipe.served.osl
    scripts = "".join(text for name, text in files.items() if name.endswith((".sh", ".yaml")))
    assert not [name for name in HANDOVER if name in scripts]
    assert "prefill.sh" not in files["README.md"]
    several = config.decode_workers > 1
    has_router = able in ("sglang", "vllm")
    assert ("router.sh" in files) == (several and has_router)
    asked = 8000 if several else 8150
    assert f"--url http://localhost:{asked} " in files["benchmark.sh"].replace("\\\n", " ")
    assert f"localhost:{asked}/health" in files["README.md"]
    assert ("load balancer" in files["README.md"]) == (several and not has_router)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_engines_take_every_option(shape: dict[str, Any]) -> None:
    _, files = one_pool("sglang", **shape)
    assert list(sglang_errors(words_of(files)[len(SERVER) :])) == []
    _, files = one_pool("trtllm", **shape)
    content = yaml.safe_load(files["worker.yaml"])
    assert [each.message for each in engine_validator().iter_errors(content)] == []
    _, files = one_pool("vllm", **shape)
    known = {*load_engine("vllm").option_names, "--headless"}
    given = {word for word in words_of(files) if word.startswith("--")}
    assert given <= known


def test_a_mixed_step_is_bounded_as_the_engine_does_it() -> None:
    short, long = {"max_batch": 32}, {"isl": 8192, "max_batch": 8, "concurrency": 100}
    for shape, budget in ((short, 8192), (long, 8 * 2 + 8192 + 40)):
        words = words_of(one_pool("vllm", **shape)[1])
        assert int(words[words.index("--max-num-batched-tokens") + 1]) == budget
        engine = yaml.safe_load(one_pool("trtllm", **shape)[1]["worker.yaml"])
        assert engine["enable_chunked_prefill"] is True
        assert budget <= engine["max_num_tokens"] < budget + 32  # whole blocks
    for attention, chunk in (("dp", 8 * 4096), ("tp", 16384)):
        words = words_of(one_pool("sglang", decode_attention=attention, concurrency=50)[1])
        assert int(words[words.index("--chunked-prefill-size") + 1]) == chunk


def test_reuse_of_inputs_is_kept_only_where_it_was_asked_for() -> None:
    for share in (0.0, 0.5):
        shape = {"cached_share": share} if share else {}
        assert ("--disable-radix-cache" in one_pool("sglang", **shape)[1]["worker.sh"]) == (
            not share
        )
        assert ("--no-enable-prefix-caching" in one_pool("vllm", **shape)[1]["worker.sh"]) == (
            not share
        )
        engine = yaml.safe_load(one_pool("trtllm", **shape)[1]["worker.yaml"])
        assert engine["kv_cache_config"]["enable_block_reuse"] is bool(share)
        policy = "cache_aware" if share else "round_robin"
        for name in ("sglang", "vllm"):
            assert f"--policy {policy}" in one_pool(name, **shape)[1]["router.sh"]


TEXT_EDITS = [
    ("vllm", "worker.sh", "--max-num-batched-tokens 8192", "--max-num-batched-tokens 64", "tokens"),
    ("vllm", "worker.sh", "--max-num-seqs 32", "--max-num-seqs 33", "batch"),
    ("vllm", "worker.sh", "--max-model-len 2088", "--max-model-len 1100", "sequence"),
    ("vllm", "worker.sh", "--data-parallel-size 8", "--data-parallel-size 4", "sums"),
    ("vllm", "worker.sh", "--port 8150", "--port 8151", "ports"),
    (
        "vllm",
        "worker.sh",
        "--stream-interval 20",
        "--stream-interval 20 --kv-transfer-config "
        '\'{"kv_connector":"NixlConnector","kv_role":"kv_both"}\'',
        "transfer",
    ),
    ("vllm", "router.sh", " http://worker-1:8150", "", "sums"),
    ("vllm", "router.sh", "http://worker-1", "http://worker-0", "options"),
    ("vllm", "router.sh", "--port 8000", "--port 8001", "ports"),
    ("vllm", "benchmark.sh", "--concurrency 500", "--concurrency 400", "load"),
    ("sglang", "worker.sh", "--chunked-prefill-size 32768", "--trust-remote-code", "ranks"),
    ("sglang", "worker.sh", "--chunked-prefill-size 32768", "--chunked-prefill-size 1001", "ranks"),
    ("sglang", "worker.sh", "--ep-size 8", "--ep-size 4", "experts"),
    ("sglang", "worker.sh", "--tp-size 8", "--tp-size 8 --disaggregation-mode decode", "ranks"),
    (
        "sglang",
        "worker.sh",
        "--tp-size 8",
        "--tp-size 8 --disaggregation-transfer-backend nixl",
        "transfer",
    ),
    ("sglang", "worker.sh", "--tp-size 8", "--tp-size 8 --enable-dp-attention", "options"),
    ("sglang", "router.sh", "worker-1:8150", "worker-1:8151", "ports"),
    ("trtllm", "worker.sh", "--config worker.yaml", "--config other.yaml", "ranks"),
    ("trtllm", "benchmark.sh", "localhost:8000", "localhost:8150", "ports"),
]
ENGINE_EDITS: list[tuple[dict[str, Any], str]] = [
    ({"max_num_tokens": 64}, "tokens"),
    ({"max_num_tokens": 1024, "enable_chunked_prefill": False}, "tokens"),
    ({"max_batch_size": 16}, "batch"),
    ({"max_seq_len": 1100}, "sequence"),
    ({"enable_attention_dp": False}, "attention"),
    ({"moe_expert_parallel_size": 4, "moe_tensor_parallel_size": 2}, "experts"),
    ({"enable_chunked_prefil": True}, "schema"),
    (
        {"cache_transceiver_config": {"backend": "DEFAULT", "max_tokens_in_buffer": 8448}},
        "transceiver",
    ),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "check"), TEXT_EDITS)
def test_an_edited_script_fails_by_field(
    name: str, file: str, old: str, new: str, check: str
) -> None:
    recipe, files = one_pool(name)
    assert old in files[file]
    found = failures(check_files(recipe, files | {file: files[file].replace(old, new, 1)}))
    assert check in {each.check for each in found}
    assert all(each.field.partition(":")[0] in files for each in found)


@pytest.mark.parametrize(("changes", "check"), ENGINE_EDITS)
def test_an_edited_engine_file_fails_by_field(changes: dict[str, Any], check: str) -> None:
    recipe, files = one_pool("trtllm")
    content = yaml.safe_load(files["worker.yaml"]) | changes
    found = failures(check_files(recipe, files | {"worker.yaml": yaml_text(content)}))
    assert [each.check for each in found] == [check]
    assert found[0].field.startswith("worker.yaml: ")


@pytest.mark.parametrize("file", ["worker.sh", "benchmark.sh", "worker.yaml", "router.sh"])
def test_a_missing_file_is_named(able: str, file: str) -> None:
    recipe, files = one_pool(able)
    if file in files:
        left = {name: text for name, text in files.items() if name != file}
        told = [(each.check, each.field) for each in failures(check_files(recipe, left))]
        assert ("files", file) in told


def test_the_row_is_one_that_validate_reads(able: str, tmp_path: Path, command: Command) -> None:
    recipe, files = one_pool(able)
    head, values = files[ROW].splitlines()
    path = tmp_path / "measured.csv"
    path.write_text(f"{head},tpot_median_ms\n{values},20.0\n")
    (row,) = read_measured_rows(path).rows.values()
    assert (row.serving, row.prefill_workers, row.framework) == (
        "aggregated",
        0,
        FORMATS[able].engine,
    )
    content = {name: getattr(row, name) for name in type(recipe.config).model_fields}
    assert type(recipe.config)(**content) == recipe.config
    done = command("validate", str(path))
    assert done.status == 0, done.err


def test_files_of_another_origin_are_told_by_their_worker(able: str, tmp_path: Path) -> None:
    _, files = one_pool(able)
    for name, text in files.items():
        if name != RECORD:
            (tmp_path / name).write_text(text)
    recipe, chosen, read = read_any(tmp_path)
    assert (recipe, chosen.name) == (None, able)
    assert not failures(check_foreign(read, chosen))


def test_one_pool_takes_the_place_of_two(able: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for _, files in (good(able), one_pool(able), good(able)):
        write_recipe("--output", folder, files, force=True)
        assert {each.name for each in folder.iterdir()} == set(files)


def test_a_difference_of_pools_is_told(able: str) -> None:
    changes = {each.key: each for each in compare_recipes(good(able)[0], one_pool(able)[0])}
    assert (changes["serving"].before, changes["serving"].after) == ("disaggregated", "aggregated")
    assert changes["prefill_nodes_per_worker"].after is None


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name not in ONE_POOL_FORMATS])
def test_formats_of_two_pools_refuse_one(
    command: Command, tmp_path: Path, format_name: str
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(one_pool("trtllm")[0].config.model_dump()))
    out = ("--format", format_name, "--output", str(tmp_path / "out"))
    for asked in (
        ("--sku", "b200", "--config", str(config)),
        ("--sku", "b200", "--target", "50", "--serving", "aggregated"),
    ):
        done = command("recipe", *asked, *out)
        assert done.status == 2
        assert "give sglang, trtllm, vllm, or ask for disaggregated serving" in " ".join(
            done.err.split()
        )
        assert not (tmp_path / "out").exists()


def test_an_answer_becomes_a_recipe_that_passes(command: Command, tmp_path: Path) -> None:
    folder, again = str(tmp_path / "out"), str(tmp_path / "again")
    asked = ("--sku", "b200", "--target", "50", "--max-gpus", "16")
    done = command(
        *("recipe", *asked, "--serving", "aggregated", "--format", "vllm", "--output", folder)
    )
    assert done.status == 0, done.err
    record = json.loads((Path(folder) / RECORD).read_text())
    assert record["config"]["serving"] == "aggregated"
    assert command("recipe", "check", folder).status == 0
    answer = command("best", *asked, "--serving", "aggregated", "--engine", "vllm", "--json").out
    path = tmp_path / "answer.json"
    path.write_text(answer)
    done = command("recipe", "--config", str(path), "--format", "vllm", "--output", again)
    assert done.status == 0, done.err
    assert command("recipe", "check", again).status == 0
    assert (Path(again) / "worker.sh").read_text() == (Path(folder) / "worker.sh").read_text()
    done = command("recipe", "diff", folder, again)
    assert done.status == 0, done.err


def test_either_takes_whichever_is_better(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = command(
        *("recipe", "--sku", "b200", "--target", "50", "--max-gpus", "8", "--serving", "either"),
        *("--format", "sglang", "--output", str(folder)),
    )
    assert done.status == 0, done.err
    serving = json.loads((folder / RECORD).read_text())["config"]["serving"]
    assert (folder / "worker.sh").exists() == (serving == "aggregated")


def test_recipe_files_are_the_same_each_time(able: str) -> None:
    recipe, files = one_pool(able)
    assert recipe_files(recipe) == files
