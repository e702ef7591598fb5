"""``moeplan recipe``: files that deploy an answer, their checks, and what differs between two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moeplan.commands import parameters as given
from moeplan.commands.help import Command, Group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moeplan.recipes.question import Request  # --help does without these
    from moeplan.recipes.recipe import Recipe

FORMAT_NAMES = "dynamo, sglang, slurm, trtllm or vllm"

app = typer.Typer(
    name="recipe",
    cls=Group,
    help="Write, check and compare files that deploy an answer.",
    rich_markup_mode=None,
    subcommand_metavar="[COMMAND] [ARGS]...",
)

EXAMPLES = given.examples(
    "moeplan recipe --sku gb200 --target 125 --format dynamo --output gb200-125",
    "moeplan recipe --sku b200 --target 60 --safe --format slurm --output b200-60",
    "moeplan recipe --sku b200 --target 50 --serving either --format vllm --output b200-50",
    "moeplan recipe --sku gb200 --config answer.json --format slurm --output run",
    "moeplan recipe --plan plan.json --output estate",
    "moeplan recipe check gb200-125",
    "moeplan recipe diff gb200-125 gb200-60",
)

Target = Annotated[
    str | None,
    typer.Option("--target", metavar="TOK/S", help="Interactivity each user sees, tok/s/user."),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration in JSON or YAML, or an answer of `best --json` with machine and "
        "workload, instead of --target.",
    ),
]
PlanFile = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        help="What `moeplan fleet --json` printed, instead of --target: a folder for each of its "
        "deployments.",
    ),
]
Safe = Annotated[
    bool,
    typer.Option(
        "--safe",
        help="Deploy the safe choice of --target: the best inside the data of the calibration "
        "that meets each limit with a chance of 90 %.",
    ),
]
Format = Annotated[str | None, typer.Option("--format", metavar="NAME", help=f"{FORMAT_NAMES}.")]
Output = Annotated[
    str | None,
    typer.Option("--output", metavar="DIR", help="Folder to write; new, or empty."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the recipe that the folder holds.")]
EngineVersion = Annotated[
    str | None,
    typer.Option(
        "--engine-version",
        metavar="RELEASE",
        help="Release of the engine; options follow it. [default: the newest that is known]",
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Name of the deployment. [default: moeplan]"),
]
ModelPath = Annotated[
    str | None,
    typer.Option(
        "--model-path",
        metavar="PATH",
        help="Checkpoint in the container, or a name at Hugging Face. "
        "[default: /models/MODEL-PRECISION]",
    ),
]
DraftPath = Annotated[
    str | None,
    typer.Option(
        "--draft-path",
        metavar="PATH",
        help="Checkpoint of the head of --draft eagle3, as --model-path.",
    ),
]
ServedName = Annotated[
    str | None,
    typer.Option(
        "--served-name", metavar="NAME", help="What clients ask for. [default: that of the model]"
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image", metavar="IMAGE", help="Container. [default: one that ships the engine release]"
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", metavar="NAME", help="Of Kubernetes. [default: the current one]"),
]
Claim = Annotated[
    str | None,
    typer.Option(
        "--claim",
        metavar="NAME",
        help="Storage claim with the checkpoint, mounted at /models. [default: model-cache]",
    ),
]
NodeSelector = Annotated[
    list[str] | None,
    typer.Option(
        "--node-selector", metavar="KEY=VALUE", help="Label that nodes must have; may be repeated."
    ),
]
PullSecret = Annotated[
    str | None,
    typer.Option("--pull-secret", metavar="NAME", help="Secret that images are pulled with."),
]
TokenSecret = Annotated[
    str | None,
    typer.Option(
        "--token-secret", metavar="NAME", help="Secret whose keys become environment variables."
    ),
]
Folder = Annotated[str, typer.Argument(metavar="DIR", help="Folder of a recipe.")]
First = Annotated[str, typer.Argument(metavar="A", help="Folder of a recipe.")]
Second = Annotated[str, typer.Argument(metavar="B", help="Folder of another.")]


@app.callback(invoke_without_command=True, epilog=EXAMPLES)
@given.takes(
    "model",
    "precision",
    "isl",
    "osl",
    "max_gpus",
    "max_ttft",
    "serving",
    "draft",
    "price",
    "prices",
    "machine",
    "cluster",
    "pool",
    "calibration",
)
def write(
    *,
    context: typer.Context,
    sku: given.Sku = None,
    target: Target = None,
    config: Config = None,
    plan: PlanFile = None,
    safe: Safe = False,
    format_name: Format = None,
    destination: Output = None,
    force: Force = False,
    engine_version: EngineVersion = None,
    name: Name = None,
    model_path: ModelPath = None,
    draft_path: DraftPath = None,
    served_name: ServedName = None,
    image: Image = None,
    namespace: Namespace = None,
    claim: Claim = None,
    node_selector: NodeSelector = None,
    pull_secret: PullSecret = None,
    token_secret: TokenSecret = None,
    typed: given.Typed,
    as_json: given.Json = False,
) -> None:
    """Write files that deploy the best configuration of a target, a given one, or a whole plan.

    A recipe that fails a check is not written.
    """
    if context.invoked_subcommand is not None:
        return
    from moeplan import output  # --help does without these
    from moeplan.config_file import merged, read_stored
    from moeplan.numbers import file_name, positive_number
    from moeplan.recipes.formats import FORMATS
    from moeplan.recipes.question import (
        Request,
        recipe_for_configuration,
        recipe_for_target,
    )
    from moeplan.render.recipe import summary, written
    from presets import InputError

    folder = _folder(destination)
    _check_one(target, config, plan)
    chosen = None if plan is not None and format_name is None else _format(format_name)
    if safe and plan is not None:
        raise InputError("--safe goes with --target; leave it or --plan out")
    if safe and config is not None:
        raise InputError("--safe goes with --target; leave it or --config out")
    request = Request(
        format=chosen or "",
        engine_release=engine_version,
        name=name,
        model_path=model_path,
        draft_path=draft_path,
        served_name=served_name,
        image=image,
        namespace=namespace,
        claim=claim,
        node_selector=_labels(node_selector or []),
        pull_secret=pull_secret,
        token_secret=token_secret,
    )
    if plan is not None:
        _write_plan(
            plan,
            folder,
            request,
            force=force,
            said=[*typed, *(["sku"] if sku else [])],
            as_json=as_json,
        )
        return
    assert chosen is not None
    options = replace(given.options_of(typed), engine=FORMATS[chosen].engine)
    configuration = None
    if config is not None:
        stored = read_stored(file_name("--config", config))
        sku, options, notes = merged(stored, sku, options, (*typed, "engine"))
        configuration = stored.configuration
        output.note(*notes)
    if configuration is None:
        wanted = positive_number("--target", target, "tok/s/user")
        recipe = recipe_for_target(sku, wanted, options, request, safe=safe)
    else:
        recipe = recipe_for_configuration(sku, configuration, options, request)
    inputs = {"--config": config} | given.files_of(typed)
    _write(recipe, folder, force, inputs)
    if as_json:
        output.emit_json(summary(recipe, folder))
    else:
        output.emit_report(written(recipe, folder))


def _format(name: str | None) -> str:
    from moeplan.numbers import one_of  # --help does without these
    from moeplan.recipes.formats import FORMATS
    from presets import InputError

    if name is None:
        raise InputError(f"--format: none is given; give {FORMAT_NAMES}")
    return one_of("--format", name, tuple(FORMATS))


def _folder(destination: str | None) -> str:
    from presets import InputError  # --help does without these

    if destination is None or not destination.strip():
        raise InputError("--output: no folder is given; give a new or an empty one")
    return destination


def _check_one(*given_ones: str | None) -> None:
    from presets import InputError  # --help does without these

    if sum(each is not None for each in given_ones) != 1:
        raise InputError("--target, --config and --plan: give one of them, such as --target 125")


def _write_plan(
    name: str,
    folder: str,
    request: Request,
    *,
    force: bool,
    said: Sequence[str],
    as_json: bool,
) -> None:
    """Write the recipes of a whole plan, or nothing."""
    from moeplan import output  # --help does without these
    from moeplan.numbers import file_name
    from moeplan.plan_file import read_plan
    from moeplan.recipes.directory import write_recipe
    from moeplan.recipes.plan import plan_files, plan_recipes
    from moeplan.render.recipe import plan_summary, plan_written
    from presets import InputError

    if said:
        raise InputError(f"{given.flag(said[0])}: the plan says that; leave it or --plan out")
    plan = read_plan(file_name("--plan", name))
    found = plan_recipes(plan, request, request.format or None)
    files = plan_files(plan, found)
    write_recipe("--output", Path(folder), files, force=force)
    if as_json:
        output.emit_json(plan_summary(found, files, folder))
    else:
        output.emit_report(plan_written(found, folder))


def _write(recipe: Recipe, destination: str, force: bool, inputs: Mapping[str, str | None]) -> None:
    """Write a recipe over none of its inputs but a record, which is remade."""
    from moeplan import output  # --help does without these
    from moeplan.recipes.directory import write_recipe
    from moeplan.recipes.writing import RECORD, recipe_files

    folder, files = Path(destination), recipe_files(recipe)
    for name in files if folder.is_dir() else ():
        if name != RECORD:
            output.check_writable("--output", folder / name, inputs)
    write_recipe("--output", folder, files, force=force)


def _labels(given_labels: list[str]) -> dict[str, str]:
    from presets import InputError  # --help does without these
    from presets.errors import shown

    labels = {}
    for text in given_labels:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--node-selector: {shown(text)} is not valid; give KEY=VALUE")
        labels[key] = value
    return labels


@app.command(
    cls=Command,
    epilog=given.examples("moeplan recipe check gb200-125", "moeplan recipe check DIR --json"),
)
def check(folder: Folder, as_json: given.Json = False) -> None:
    """Run every check on a recipe, also on one edited by hand or not written by moeplan.

    DIR may be a recipe file of srt-slurm. Without a recipe.json, checks that compare with the
    configuration are skipped.

    Exits with 1 where a check fails.
    """
    from moeplan import output  # --help does without these
    from moeplan.numbers import file_name
    from moeplan.recipes.checks import failures
    from moeplan.recipes.directory import read_any
    from moeplan.recipes.writing import check_files, check_foreign
    from moeplan.render.recipe import check_report, check_summary

    recipe, chosen, files = read_any(file_name("DIR", folder))
    results = check_foreign(files, chosen) if recipe is None else check_files(recipe, files)
    if as_json:
        output.emit_json(check_summary(chosen.name, results))
    else:
        output.emit_report(check_report(chosen.name, folder, results))
    if failures(results):
        raise typer.Exit(1)


@app.command(cls=Command, epilog=given.examples("moeplan recipe diff gb200-125 b200-125"))
def diff(first: First, second: Second, as_json: given.Json = False) -> None:
    """Show what changes from one recipe to another, in terms of the configuration.

    Names a recipe whose files fail a check: they are not what its configuration says.
    """
    from moeplan import output  # --help does without these
    from moeplan.numbers import file_name
    from moeplan.recipes.checks import failures
    from moeplan.recipes.diff import compare_recipes
    from moeplan.recipes.directory import read_recipe
    from moeplan.recipes.writing import check_files
    from moeplan.render.recipe import diff_report, diff_summary

    before, before_files = read_recipe(file_name("A", first))
    after, after_files = read_recipe(file_name("B", second))
    changes = compare_recipes(before, after)
    failing = [
        folder
        for folder, recipe, files in (
            (first, before, before_files),
            (second, after, after_files),
        )
        if failures(check_files(recipe, files))
    ]
    if as_json:
        output.emit_json(diff_summary(changes, failing))
    else:
        output.emit_report(diff_report(first, second, changes, failing))
