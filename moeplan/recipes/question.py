"""From what a user asks to the recipe that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from costmodel.checks import check_batch
from costmodel.results import Configuration
from moeplan import api
from moeplan.answers.best import Best, ScenarioSummary
from moeplan.answers.predicted import PredictedDeployment
from moeplan.options import Options
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.names import named_after
from moeplan.recipes.placement import machine_of
from moeplan.recipes.recipe import Recipe, Safe, Served, Settings
from presets import InfeasibleError, InputError, Model
from presets.deployment_tools import load_dynamo
from presets.engines import load_engine
from presets.errors import shown
from presets.files import explained, validated

NAME = "moeplan"

RECIPE_DRAFTS = ("none", "mtp", "eagle3")
"""What drafts in a recipe; block drafters have no options that every engine takes."""


@dataclass(frozen=True)
class Request:
    """What a recipe is asked for besides the question itself; None takes the default.

    Attributes
    ----------
    format : str
    engine_release : str or None
        Release of the engine; None takes the newest that is known.
    name, model_path, draft_path, served_name, image, namespace, claim : str or None
    node_selector : mapping
    pull_secret, token_secret : str or None
    """

    format: str
    engine_release: str | None = None
    name: str | None = None
    model_path: str | None = None
    draft_path: str | None = None
    served_name: str | None = None
    image: str | None = None
    namespace: str | None = None
    claim: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    pull_secret: str | None = None
    token_secret: str | None = None


def recipe_for_target(
    sku: str | None, target: float, options: Options, request: Request, *, safe: bool = False
) -> Recipe:
    """Search for the best configuration of a target, or the safe choice, and make it a recipe.

    Raises
    ------
    InfeasibleError
        Where nothing meets the target, or nothing is safe.
    InputError
        Where something asked for is not valid.
    """
    _release(request)
    _check_pools(request, options.serving)
    if options.draft is not None:
        _check_head(options.draft, request)  # before the search
    answer = api.best(sku, target, options)
    if answer.config is None or answer.prediction is None:
        raise InfeasibleError(answer.reason or "nothing meets the target")
    if not safe:
        return recipe_of(answer, request)
    choice = answer.safe_choice
    assert choice is not None  # as every answer that has a configuration
    if choice.config is None:
        raise InfeasibleError(f"there is no safe choice: {choice.reason}")
    chosen = answer.model_copy(update={"config": choice.config, "prediction": choice.prediction})
    recipe = recipe_of(chosen, request)
    kept = Safe(
        confidence=choice.confidence,
        target_tok_s_per_user=target,
        max_ttft_s=options.max_ttft,
        chance_to_meet=dict(choice.chance_to_meet or {}),
    )
    return recipe.model_copy(update={"safe": kept})


def recipe_for_configuration(
    sku: str | None, configuration: Configuration, options: Options, request: Request
) -> Recipe:
    """Make a given configuration a recipe, with its prediction.

    Raises
    ------
    InputError
        Where the configuration does not fit cluster, model or memory, or is not valid.
    """
    _release(request)
    _check_pools(request, configuration.serving)
    # The files start one frontend.
    configuration = configuration.model_copy(update={"frontends": 1})
    predicted = api.predict(sku, configuration, options)
    recipe = recipe_of(predicted, request)
    recipe = recipe.model_copy(update={"batch_limit": predicted.batch_limit})
    # A prediction cuts the batch. An engine takes a largest batch that memory does not hold, and
    # evicts requests once the load fills it.
    if recipe.filled > predicted.batch_limit:
        check_batch(configuration, predicted.sku, predicted.batch_limit)
    return recipe


def _release(request: Request) -> str:
    """Check the engine release before any work is done."""
    engine = load_engine(FORMATS[request.format].engine)
    release = request.engine_release or engine.default_release
    try:
        engine.releases_of(release)
    except InputError as error:
        raise InputError(f"--engine-version: {error}") from None
    return release


def _check_pools(request: Request, serving: str) -> None:
    """Refuse one pool in a format that starts two.

    Raises
    ------
    InputError
        Naming the formats that start one.
    """
    if serving == "aggregated" and not FORMATS[request.format].one_pool:
        able = [name for name, each in FORMATS.items() if each.one_pool]
        raise InputError(
            f"serving 'aggregated' is not valid for --format {request.format}, which deploys a "
            f"pool of prefill workers and one of decode workers; give {', '.join(able)}, or ask "
            "for disaggregated serving"
        )


def recipe_of(answer: Best | PredictedDeployment, request: Request) -> Recipe:
    """Make an answer that has a configuration a recipe.

    Raises
    ------
    InputError
        Where a choice of the request is not valid, or prefill stands on another machine.
    """
    engine_release, scenario = _release(request), answer.scenario
    configuration, prediction = answer.config, answer.prediction
    assert configuration is not None  # the callers refuse an answer without
    assert prediction is not None
    question = answer.question
    _check_pools(request, configuration.serving)
    for name in ("decode_attention_tp", "prefill_stages"):
        if (value := getattr(configuration, name)) > 1:
            raise InputError(f"{name} {value} is not valid for a recipe yet; give 1")
    if configuration.draft not in RECIPE_DRAFTS:
        raise InputError(
            f"draft {shown(configuration.draft)} is not valid for a recipe; give "
            f"{', '.join(RECIPE_DRAFTS)}"
        )
    _check_head(configuration.draft, request)
    if question.prefill_cluster is not None:
        raise InputError(
            f"prefill_sku {shown(question.options.prefill_sku)} is not valid for a recipe, which "
            "deploys on one machine; ask for an answer without it"
        )
    deployed = answer.deployment if isinstance(answer, Best) else answer
    carried = deployed.links.exchange if deployed is not None else None
    model = question.scenario.model
    precision = getattr(model.precisions, scenario.precision)
    served = {
        "model": question.options.model,
        "precision": scenario.precision,
        "expert_format": _expert_format(model, scenario.precision),
        "isl": scenario.isl,
        "osl": scenario.osl,
        "cached_share": scenario.cached_share,
        "experts": model.experts,
        "heads": model.heads,
        "kv_bits": int(precision.kv_cache),
        "expert_width": model.moe.intermediate,
        "kv_heads": model.kv_heads,
    }
    # A head that the best does without is left out.
    drafted = request if configuration.draft == "eagle3" else replace(request, draft_path=None)
    content = {
        "format": request.format,
        "engine_release": engine_release,
        "machine": machine_of(question.cluster, question.price_set).model_dump(),
        "served": validated(Served, served, key="served").model_dump(),
        "config": configuration.model_dump(),
        "prediction": prediction.model_dump(),
        "settings": _settings(model, scenario, drafted, engine_release).model_dump(),
        "two_batches": carried is not None and carried.two_batches,
    }
    return validated(Recipe, content)


def _check_head(draft: str, request: Request) -> None:
    """Refuse a head without a path, and a path where no head drafts."""
    if draft == "eagle3" and request.draft_path is None:
        raise InputError(
            "--draft-path: is missing; an EAGLE-3 head is a checkpoint of its own: give its path "
            "in the container, or its name at Hugging Face"
        )
    # The best may draft nothing, whatever could.
    if draft not in ("eagle3", "none") and request.draft_path is not None:
        raise InputError(
            f"--draft-path {shown(request.draft_path)}: is of an EAGLE-3 head, and here drafts "
            f"{shown(draft)}; give --draft eagle3, or leave it out"
        )


NVFP4_BITS = 4.5
"""Bits of a weight in NVFP4, scales included; MXFP4 has 4.25. [1]"""


def _expert_format(model: Model, precision: str) -> str:
    if precision == "int4":
        others = ", ".join(name for name in model.precision_names() if name != "int4")
        raise InputError(f"--precision: 'int4' has no recipes; valid: {others}")
    if precision != "fp4":
        return precision
    return "nvfp4" if model.precision(precision).experts == NVFP4_BITS else "mxfp4"


OPTION_OF = {
    "name": "--name",
    "model_path": "--model-path",
    "draft_path": "--draft-path",
    "served_name": "--served-name",
    "image": "--image",
    "namespace": "--namespace",
    "claim": "--claim",
    "node_selector": "--node-selector",
    "pull_secret": "--pull-secret",
    "token_secret": "--token-secret",
}
"""Option of each choice, for messages."""


def _settings(
    model: Model, scenario: ScenarioSummary, request: Request, engine_release: str
) -> Settings:
    """Take what was chosen, and safe defaults for the rest.

    Raises
    ------
    InputError
        Naming the option.
    """
    if not FORMATS[request.format].kubernetes:
        for field in ("namespace", "claim", "node_selector", "pull_secret", "token_secret"):
            if getattr(request, field):
                raise InputError(f"{OPTION_OF[field]}: is of Kubernetes; give --format dynamo")
    given = {
        "name": _given(request.name, NAME),
        "model_path": _given(
            request.model_path, f"/models/{named_after(model.name)}-{scenario.precision}"
        ),
        "draft_path": request.draft_path,
        "served_name": _given(request.served_name, named_after(model.hf_id)),
        "image": _image(request, engine_release) if request.image is None else request.image,
        "namespace": request.namespace,
        "claim": _given(request.claim, "model-cache"),
        "node_selector": dict(request.node_selector),
        "pull_secret": request.pull_secret,
        "token_secret": request.token_secret,
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = OPTION_OF[str(first["loc"][0])]
        raise InputError(f"{option}: {explained(first, Settings)}") from None


def _given(value: str | None, default: str) -> str:
    return default if value is None else value


def _image(request: Request, engine_release: str) -> str:
    """Find an image that ships the release of the engine.

    Raises
    ------
    InputError
        Where none is known to.
    """
    if FORMATS[request.format].ships_dynamo:
        dynamo = load_dynamo()
        shipping = dynamo.shipping("trtllm", engine_release)
        if shipping is None:
            known = ", ".join(each.engines["trtllm"] for each in dynamo.releases)
            raise InputError(
                f"--engine-version: no image is known to ship TensorRT-LLM {engine_release!r}; "
                f"name one with --image, or give one of {known}"
            )
        return f"{dynamo.image}:{shipping.name}"
    engine = load_engine(FORMATS[request.format].engine)
    return f"{engine.image}:{engine.tag.format(release=engine_release)}"
