"""Every recipe, against the schemas of the systems that take it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from moeplan.recipes.command_line import read_script
from moeplan.recipes.recipe import Recipe
from moeplan.recipes.sglang.files import SERVER
from tests.recipes.samples import every_recipe, good
from tests.recipes.strict import (
    broken_rules,
    definition,
    engine_validator,
    errors,
    resource_validator,
    sglang_errors,
)

pytestmark = pytest.mark.many_cases

GRAPH = "nvidia.com_dynamographdeployments_v1beta1.json"
DOMAIN = "resource.nvidia.com_computedomains_v1beta1.json"
BINDING = "grove.io_clustertopologybindings_v1alpha1.json"
RESOURCES = {"deployment.yaml": GRAPH, "compute-domain.yaml": DOMAIN, "topology.yaml": BINDING}
ROLES = ("prefill", "decode")


def engine_texts(recipe: Recipe, files: dict[str, str]) -> list[Any]:
    """Engine options of both roles, as a reader of the files finds them."""
    if recipe.format == "slurm":
        content = yaml.safe_load(files["recipe.yaml"])["backend"]["trtllm_config"]
        return [content[role] for role in ROLES]
    if recipe.format == "trtllm":
        return [yaml.safe_load(files[f"{role}.yaml"]) for role in ROLES]
    maps = [yaml.safe_load(files[f"{role}-engine.yaml"])["data"] for role in ROLES]
    return [yaml.safe_load(text) for data in maps for text in data.values()]


@pytest.mark.parametrize("format_name", ["dynamo", "slurm", "trtllm"])
def test_engine_options_are_those_of_the_engine(format_name: str) -> None:
    for recipe, files in every_recipe(format_name):
        for content in engine_texts(recipe, files):
            found = [each.message for each in engine_validator().iter_errors(content)]
            assert found == [], recipe.config.label


def test_a_strict_server_takes_every_object() -> None:
    for recipe, files in every_recipe("dynamo"):
        for name, resource in RESOURCES.items():
            if name not in files:
                continue
            content = yaml.safe_load(files[name])
            assert errors(resource_validator(resource), content) == [], recipe.config.label
            assert list(broken_rules(definition(resource), content)) == []


@pytest.mark.parametrize(
    ("name", "place", "key", "value"),
    [
        ("deployment.yaml", ("spec", "components", 1), "services", {}),
        ("deployment.yaml", ("spec", "components", 1, "podTemplate", "spec"), "mainContainer", {}),
        ("deployment.yaml", ("spec",), "pvcs", []),
        ("deployment.yaml", ("spec", "components", 2, "multinode"), "nodeCount", 1),
        ("deployment.yaml", ("spec", "components", 2), "replicas", "2"),
        ("compute-domain.yaml", ("spec", "channel"), "count", 2),
        ("topology.yaml", ("spec",), "levels", []),
    ],
)
def test_the_server_of_these_tests_refuses(
    name: str, place: tuple[str | int, ...], key: str, value: object
) -> None:
    _, files = good("dynamo")
    content = part = yaml.safe_load(files[name])
    for step in place:
        part = part[step]
    part[key] = value
    assert errors(resource_validator(RESOURCES[name]), content)


def test_the_server_of_these_tests_knows_the_rules() -> None:
    _, files = good("dynamo")
    content = yaml.safe_load(files["deployment.yaml"])
    content["spec"]["components"][1]["name"] = "DECODE"
    content["spec"]["components"][2]["minAvailable"] = 9
    assert len(list(broken_rules(definition(GRAPH), content))) == 2


def test_sglang_takes_every_option() -> None:
    for recipe, files in every_recipe("sglang"):
        for role in ROLES:
            text = re.sub(r"\$\(\((\d+) .*?\)\)", r"\1", files[f"{role}.sh"])  # of slot 0
            words, _ = read_script(text.replace("$NODE_RANK", "0"))
            assert list(sglang_errors(words[len(SERVER) :])) == [], recipe.config.label
    assert list(sglang_errors(["--cuda-graph-max-bs", "8", "--enable-dp-attention"]))
    assert list(sglang_errors(["--tp-size", "four", "--deepep-mode", "fast"]))
