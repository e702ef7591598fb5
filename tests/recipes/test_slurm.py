"""Recipe files of srt-slurm: what srtctl loads passes, also what moeplan did not write."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from costmodel.results import Configuration
from moeplan.config_file import read_stored
from moeplan.options import Options
from moeplan.recipes.checks import Result, failures
from moeplan.recipes.directory import write_recipe
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.question import Request, recipe_for_configuration
from moeplan.recipes.slurm.schema import schema_faults, unknown_keys
from moeplan.recipes.writing import check_files, check_foreign, recipe_files
from moeplan.recipes.yaml_text import yaml_text
from presets import DataFileError, InputError
from tests.recipes.samples import good
from tests.samples import Command

KEYS = Path(__file__).with_name("srt_slurm_keys.txt")
EXAMPLES: dict[str, Any] = {
    "flag": True, "whole": 1, "number": 0.5, "text": "a", "list": [], "null": None, "map": {},
}  # fmt: skip


def public_keys() -> list[tuple[str, list[str]]]:
    lines = KEYS.read_text(encoding="utf-8").splitlines()[1:]
    return [(name, kinds.split()) for name, kinds in (line.split(": ") for line in lines)]


def example(backend: str, path: list[str], value: object) -> dict[str, Any]:
    """A file with what must be there, and one key more."""
    content: dict[str, Any] = {
        "name": "a",
        "model": {"path": "a", "container": "b", "precision": "fp8"},
        "resources": {"gpu_type": "gb200"},
        "backend": {"type": backend},
    }
    part = content
    for step in path[:-1]:
        part = part.setdefault(step, {})
    part[path[-1]] = value
    return content


def test_every_key_of_the_public_recipes_is_taken() -> None:
    for name, kinds in public_keys():
        head, *rest = name.split(".")
        backend = head.partition(" ")[2] if head.startswith("backend ") else "trtllm"
        path = [head.partition(" ")[0] if head.startswith("backend ") else head, *rest]
        if name in ("model", "resources", "backend.type") or path == ["backend"]:
            continue
        for kind in kinds:
            value = backend if path == ["backend", "type"] else EXAMPLES[kind]
            content = example(backend, path, value)
            assert list(unknown_keys(content)) == [], name
            assert [each for each in schema_faults(content) if each[0] == ".".join(path)] == []


EDITS = {
    "dynamo twice": (r"^frontend:", "dynamo:\n  install: false\nfrontend:"),
    "infra": (r"^frontend:", "infra:\n  etcd_nats_dedicated_node: true\nfrontend:"),
    "sbatch": (r"^frontend:", 'sbatch_directives:\n  mem: "0"\nfrontend:'),
    "nginx": (r"^frontend:", "frontend:\n  nginx_container: nginx"),
    "decode from servers": (r"^ *gpus_per_decode.*\n", ""),
    "prefill from servers": (r"^ *gpus_per_prefill.*\n", ""),
    "users as text": (r"concurrencies:\n *- (\d+)", r'concurrencies: "\1"'),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_keys_that_srtctl_documents(edit: tuple[str, str]) -> None:
    recipe, files = good("slurm")
    text, count = re.subn(edit[0], edit[1], files["recipe.yaml"], count=1, flags=re.MULTILINE)
    assert count == 1
    assert failures(check_files(recipe, files | {"recipe.yaml": text})) == []


def edited(change: Any) -> str:
    content = yaml.safe_load(good("slurm")[1]["recipe.yaml"])
    change(content)
    return yaml_text(content)


def found(text: str, check: str) -> Result:
    recipe, files = good("slurm")
    results = check_files(recipe, files | {"recipe.yaml": text})
    return next(each for each in results if each.check.name == check)


def test_unknown_keys_are_warnings_with_a_hint() -> None:
    told = found(edited(lambda content: content["resources"].update(decode_worker=2)), "schema")
    assert told.status == "warned"
    assert told.findings[0].field == "recipe.yaml: resources.decode_worker"
    assert "did you mean 'decode_workers'" in told.findings[0].problem


def test_checks_go_on_after_a_fault() -> None:
    def change(content: dict[str, Any]) -> None:
        content["health_check"] = {"max_attempts": "many"}
        content["backend"]["trtllm_config"]["decode"]["max_num_tokens"] = 8

    recipe, files = good("slurm")
    told = failures(check_files(recipe, files | {"recipe.yaml": edited(change)}))
    assert [each.check for each in told] == ["schema", "tokens"]


def test_the_dynamo_of_the_image_stays() -> None:
    content = yaml.safe_load(good("slurm")[1]["recipe.yaml"])
    assert content["dynamo"] == {"install": False}
    assert ":1.6.1" in content["model"]["container"]
    told = found(edited(lambda each: each.pop("dynamo")), "runtime")
    assert told.status == "warned"
    assert "installs 0.8.0 over the 1.6.1 of the image" in told.findings[0].problem
    same = edited(lambda each: each.update(dynamo={"version": "1.6.1"}))
    assert found(same, "runtime").status == "passed"


FULL: dict[str, Any] = {
    "prefill_workers": 2,
    "prefill_gpus_per_worker": 8,
    "decode_workers": 1,
    "decode_gpus_per_worker": 8,
    "decode_ep": 8,
    "decode_attention": "dp",
    "max_batch": 640,
    "mtp_depth": 0,
    "concurrency": 640,
}
"""A public recipe's shape: 640 users over 8 ranks, of which each may take 640."""


def test_a_batch_that_the_load_never_fills_is_written_with_a_warning(format_name: str) -> None:
    options = Options(precision="fp8", isl=8192, engine=FORMATS[format_name].engine)
    configuration = Configuration(**FULL)
    recipe = recipe_for_configuration("b200", configuration, options, Request(format_name))
    assert recipe.filled == 80
    files = recipe_files(recipe)
    assert "the load brings 80" in files["README.md"]
    warned = [each for each in check_files(recipe, files) if each.status == "warned"]
    assert [each.check.name for each in warned] == ["memory"]
    crowded = Configuration(**FULL | {"concurrency": 4000})
    with pytest.raises(InputError, match="max_batch 640 does not fit in the memory of b200"):
        recipe_for_configuration("b200", crowded, options, Request(format_name))


def test_files_without_a_record_are_checked(format_name: str) -> None:
    _, files = good(format_name)
    theirs = {name: files[name] for name in FORMATS[format_name].files & set(files)}
    results = check_foreign(theirs, FORMATS[format_name])
    status = {each.check.name: each.status for each in results}
    assert not failures(results)
    assert {"sums", "batch", "load", "memory"} <= {k for k, v in status.items() if v == "skipped"}
    assert {"world-size", "experts", "tokens", "sequence", "drafts", "model"} <= {
        k for k, v in status.items() if v == "passed"
    }


def test_a_foreign_recipe_as_the_command_reads_it(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(good("slurm")[1]["recipe.yaml"])
    done = command("recipe", "check", str(path), "--json")
    assert (done.status, done.json["status"], done.json["format"]) == (0, "passed", "slurm")
    path.write_text(
        edited(lambda content: content["backend"]["trtllm_config"]["decode"].update(stop=1))
    )
    assert command("recipe", "check", str(path)).status == 1
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(good("slurm")[1]["recipe.yaml"])
    assert command("recipe", "check", str(folder)).status == 0
    (folder / "recipe.yaml").write_text("a: 1\n")
    told = command("recipe", "check", str(folder))
    assert told.status == 2
    assert "holds no recipe.json; give the folder of a recipe, or of files" in told.err


def test_a_prediction_reads_it(tmp_path: Path) -> None:
    recipe, files = good("slurm")
    path = tmp_path / "recipe.yaml"
    path.write_text(files["recipe.yaml"])
    assert read_stored(path).configuration == recipe.config.model_copy(update={"frontends": None})
    path.write_text(edited(lambda content: content["backend"].pop("trtllm_config")))
    with pytest.raises(DataFileError, match="has no options of prefill and decode workers"):
        read_stored(path)


def test_a_record_of_a_machine_that_nobody_knows(command: Command, tmp_path: Path) -> None:
    _, files = good("dynamo")
    record = json.loads(files["recipe.json"])
    record["machine"]["sku"] = "gb9000"
    folder = tmp_path / "recipe"
    write_recipe("--output", folder, files | {"recipe.json": json.dumps(record)}, force=False)
    done = command("recipe", "check", str(folder))
    assert done.status == 2
    assert "key machine.sku: 'gb9000' is not valid; give b200, b300" in done.err
