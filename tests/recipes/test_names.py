"""Names and paths that a user gives stay in their field, whatever they hold."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from moeplan.options import Options
from moeplan.recipes.checks import failures
from moeplan.recipes.command_line import read_script
from moeplan.recipes.dynamo.kubernetes import plain
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.question import Request, recipe_for_configuration
from moeplan.recipes.recipe import Recipe, Settings
from moeplan.recipes.writing import check_files, recipe_files
from presets import DataFileError
from presets.files import validated
from tests.recipes.samples import good
from tests.recipes.test_engine_rules import QWEN3_30B
from tests.samples import changed

pytestmark = pytest.mark.many_cases

NASTY = (
    "a: b",
    "x\n- y",
    "../../etc",
    "$(touch x)",
    "`id`",
    "{{ .Values.x }}",
    "${jndi:x}",
    "a#b",
    "'; rm -rf / #",
    '"quoted"',
    "*anchor",
    "&anchor",
    "!tag",
    "%dir",
    "a\tb",
    "\x00",
    "y",
    "-rf",
    "a b",
    " a",
    "A|B",
    "é",
)


def with_settings(recipe: Recipe, **changes: object) -> Recipe:
    content = recipe.settings.model_dump() | changes
    return recipe.model_copy(update={"settings": validated(Settings, content)})


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("field", ["name", "namespace", "claim", "pull_secret", "token_secret"])
def test_names_of_objects_take_nothing_else(field: str, text: str) -> None:
    recipe, _ = good("dynamo")
    if field != "name" and text == "y":
        assert with_settings(recipe, **{field: text})
        return
    if text == "y":
        return
    with pytest.raises(DataFileError, match=r"is not valid; give"):
        with_settings(recipe, **{field: text})


@pytest.mark.parametrize("text", [text for text in NASTY if text not in ("y", "é")])
def test_images_and_served_names_take_nothing_else(text: str) -> None:
    recipe, _ = good("dynamo")
    for field in ("image", "served_name"):
        if field == "image" and text == "y":
            continue
        with pytest.raises(DataFileError, match=r"is not valid; give"):
            with_settings(recipe, **{field: text})


@pytest.mark.parametrize(
    "labels", [{"a b": "c"}, {"a": "b c"}, {"a": "b\n"}, {"": "b"}, {"a": "$x"}]
)
def test_labels_take_nothing_else(labels: dict[str, str]) -> None:
    recipe, _ = good("dynamo")
    with pytest.raises(DataFileError, match=r"node_selector.* is not valid; give the"):
        with_settings(recipe, node_selector=labels)


@pytest.mark.parametrize(
    "path", ["", " ", "a\nb", "/a/../b", "../a", "-x", "/a\x00", "a b", " /a", "/" + "a" * 1024]
)
def test_paths_that_leave_their_place_are_refused(path: str) -> None:
    recipe, _ = good("dynamo")
    with pytest.raises(DataFileError, match=r"model_path: .*is not valid; give"):
        with_settings(recipe, model_path=path)


def strings(content: Any) -> Iterator[str]:
    """Every text of nested content, keys included."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from strings(value)
    elif isinstance(content, str):
        yield content


def skeleton(files: dict[str, str], path: str) -> dict[str, Any]:
    """Files with the path taken out wherever a reader finds it; scripts as their words."""
    result: dict[str, Any] = {}
    for name, text in files.items():
        if name.endswith(".yaml"):
            content = yaml.safe_load(text)
            result[name] = [plain(each).replace(path, "PATH") for each in strings(content)]
        elif name.endswith(".sh"):
            words, exports = read_script(text)
            result[name] = [[word.replace(path, "PATH") for word in words], exports]
        elif name.endswith(".json"):
            result[name] = [each.replace(path, "PATH") for each in strings(json.loads(text))]
    return result


PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=40
).map(lambda text: f"/models/{text}")


@settings(max_examples=25, deadline=None)
@given(path=PATHS)
@pytest.mark.parametrize("name", ["dynamo", "slurm", "trtllm", "sglang", "vllm"])
def test_any_path_stays_in_its_field(name: str, path: str) -> None:
    recipe, _ = good(name)
    try:
        changed = with_settings(recipe, model_path=path)
    except DataFileError:
        assert ".." in path or path != path.strip() or not path.isprintable()
        return
    files = recipe_files(changed)
    assert not failures(check_files(changed, files))
    usual = recipe_files(with_settings(recipe, model_path="/models/QQ"))
    assert skeleton(files, path) == skeleton(usual, "/models/QQ")


@pytest.mark.parametrize("name", ["sglang", "vllm", "trtllm"])
def test_a_shell_hands_on_what_was_meant(name: str, tmp_path: Path) -> None:
    recipe, _ = good(name)
    path = "/models/a b$(touch owned)`touch owned`\"'\\;&|<>*?~#${HOME}!"
    files = recipe_files(with_settings(recipe, model_path=path))
    program = {"sglang": "python3", "vllm": "vllm", "trtllm": "srun"}[name]
    tools = tmp_path / "tools"
    tools.mkdir()
    stub = tools / program
    stub.write_text('#!/bin/sh\nfor word in "$0" "$@"; do printf "%s\\n" "$word"; done\n')
    stub.chmod(0o755)
    script = tmp_path / "decode.sh"
    script.write_text(files["decode.sh"])
    done = subprocess.run(
        ["/bin/sh", str(script)],
        env={"PATH": f"{tools}:/usr/bin:/bin", "NODE_RANK": "0", "LEADER": "host"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    words, _ = read_script(files["decode.sh"])
    expected = [word.replace("$NODE_RANK", "0").replace("$LEADER", "host") for word in words[1:]]
    assert done.stdout.splitlines()[1:] == expected
    assert path in expected
    assert not (tmp_path / "owned").exists()


def test_variables_of_kubernetes_are_not_expanded() -> None:
    recipe, _ = good("dynamo")
    files = recipe_files(with_settings(recipe, model_path="/models/$(HOME)/$$x"))
    deployment = yaml.safe_load(files["deployment.yaml"])
    args = deployment["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0]["args"]
    assert args[1] == "/models/$$(HOME)/$$$$x"
    assert plain(args[1]) == "/models/$(HOME)/$$x"


MARKUP = "<img src=x onerror=alert(1)>[a](javascript:b) `c` **d** $(e) 'f' | g"


def test_markup_of_a_model_file_stays_text(tmp_path: Path, format_name: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3_30B | {"_name_or_path": MARKUP}))
    options = Options(model=str(path), precision="fp8", engine=FORMATS[format_name].engine)
    configuration = changed(
        prefill_gpus_per_worker=8, decode_gpus_per_worker=8, decode_ep=8, mtp_depth=0, eplb_slots=0
    )
    recipe = recipe_for_configuration("h200", configuration, options, Request(format_name))
    for name, text in recipe_files(recipe).items():
        if name == "recipe.json":
            continue
        assert not re.search(r"(?<!\\)<img|(?<!\\)\]\(|(?<!\\)`c`", text), name
        assert not name.endswith(".sh") or "$(e)" not in text
