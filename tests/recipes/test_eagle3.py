"""Recipes whose drafts are of an EAGLE-3 head, a checkpoint of its own."""

from typing import Any

import pytest

from costmodel.results import Configuration
from moeplan.options import Options
from moeplan.recipes.checks import failures
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.question import Request, recipe_for_configuration
from moeplan.recipes.recipe import Recipe
from moeplan.recipes.writing import check_files, recipe_files
from presets import InputError

HEAD = "/models/head"
SAID = {
    "sglang": ("--speculative-algorithm EAGLE3", f"--speculative-draft-model-path {HEAD}"),
    "vllm": ('"method":"eagle3"', f'"model":"{HEAD}"'),
    "trtllm": ("decoding_type: Eagle3", f"speculative_model: {HEAD}"),
    "dynamo": ("decoding_type: Eagle3", f"speculative_model: {HEAD}"),
    "slurm": ("decoding_type: Eagle3", f"speculative_model: {HEAD}"),
}


def recipe(
    format_name: str, path: str | None = HEAD, model: str = "deepseek-r1-0528", **changes: Any
) -> Recipe:
    configuration = Configuration(
        **{
            "prefill_workers": 1,
            "prefill_gpus_per_worker": 4,
            "decode_workers": 1,
            "decode_gpus_per_worker": 8,
            "decode_ep": 8,
            "decode_attention": "tp",
            "max_batch": 16,
            "mtp_depth": 3,
            "draft": "eagle3",
            "concurrency": 16,
            **changes,
        }
    )
    options = Options(engine=FORMATS[format_name].engine, model=model)
    request = Request(format_name, draft_path=path)
    return recipe_for_configuration("b200", configuration, options, request)


@pytest.mark.parametrize("format_name", SAID)
def test_every_role_names_the_head_and_every_check_passes(format_name: str) -> None:
    made = recipe(format_name)
    files = recipe_files(made)
    assert not failures(check_files(made, files))
    together = "\n".join(files.values()).replace("'", "").replace('\\"', '"')
    for text in SAID[format_name]:
        assert together.replace(": ", ":").count(text.replace(": ", ":")) >= 2, text
    assert HEAD in files["README.md"]


@pytest.mark.parametrize("format_name", SAID)
def test_a_head_of_one_role_alone_is_found(format_name: str) -> None:
    made = recipe(format_name)
    files = recipe_files(made)
    names = [
        name
        for name, text in files.items()
        if HEAD in text and name not in ("README.md", "recipe.json")
    ]
    spoilt = files | {names[0]: files[names[0]].replace(HEAD, "/models/other", 1)}
    assert failures(check_files(made, spoilt)), names[0]


@pytest.mark.parametrize(
    ("path", "changes", "sentence"),
    [
        (None, {}, "--draft-path: is missing; an EAGLE-3 head is a checkpoint of its own"),
        (HEAD, {"draft": "mtp"}, "is of an EAGLE-3 head, and here drafts 'mtp'"),
        (
            HEAD,
            {"draft": "dspark", "model": "deepseek-v4-pro", "prefill_gpus_per_worker": 8},
            "draft 'dspark' is not valid for a recipe; give none, mtp, eagle3",
        ),
        ("a b", {}, "--draft-path"),
    ],
)
def test_bad_input_names_option_and_remedy(
    path: str | None, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        recipe("sglang", path, **changes)
    assert sentence in str(refused.value)


def test_a_head_that_nothing_drafts_with_is_left_out() -> None:
    made = recipe("vllm", draft="none", mtp_depth=0)
    assert made.settings.draft_path is None
    assert not any(HEAD in text for text in recipe_files(made).values())
