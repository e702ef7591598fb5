"""The load that a recipe is measured under: AIPerf at the concurrency of the configuration."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from moeplan.recipes.command_line import Count, CountOrZero, Flag, Options, Share, Text
from moeplan.recipes.parsed import Setting
from moeplan.recipes.recipe import Recipe

AIPERF_PROFILE = "profile_export_aiperf.json"
RESULT = "result.json"
"""What the README calls the file of measured figures, whichever program wrote it."""

ROUNDS = 10
"""Requests per user of a measurement; the measured rows ran as many. [1]"""

WARMUP_ROUNDS = 2
"""Requests per user before it. [1]"""

SHORTEST = 0.8
"""Shortest length over the nominal one; lengths are uniform in between. [1]"""

WHOLE_OUTPUT = ["ignore_eos:true"]
"""Extra input by which a request yields all tokens that it asks for."""

READY_SECONDS = 7200
"""Longest wait for the model to answer. [s]"""


class AiperfOptions(Options):
    """Options of ``aiperf profile``."""

    model: Annotated[Text, Field(alias="--model")]
    tokenizer: Annotated[Text, Field(alias="--tokenizer")]
    url: Annotated[Text, Field(alias="--url")]
    endpoint_type: Annotated[Text, Field(alias="--endpoint-type")]
    streaming: Annotated[Flag, Field(alias="--streaming")] = None
    isl: Annotated[Count, Field(alias="--synthetic-input-tokens-mean")]
    osl: Annotated[Count, Field(alias="--output-tokens-mean")]
    random_range_ratio: Annotated[Share | None, Field(alias="--random-range-ratio")] = None
    random_corpus_style: Annotated[Text | None, Field(alias="--random-corpus-style")] = None
    extra_inputs: Annotated[
        list[Annotated[list[str], Field(min_length=1)]] | None, Field(alias="--extra-inputs")
    ] = None
    concurrency: Annotated[Count, Field(alias="--concurrency")]
    request_count: Annotated[Count, Field(alias="--request-count")]
    warmup_request_count: Annotated[CountOrZero | None, Field(alias="--warmup-request-count")] = (
        None
    )
    random_seed: Annotated[CountOrZero | None, Field(alias="--random-seed")] = None
    wait_for_model_timeout: Annotated[
        CountOrZero | None, Field(alias="--wait-for-model-timeout")
    ] = None
    ui: Annotated[Text | None, Field(alias="--ui")] = None
    artifact_dir: Annotated[Text | None, Field(alias="--artifact-dir")] = None

    repeated_fields: ClassVar[frozenset[str]] = frozenset({"extra_inputs"})


def load_settings(place: str, options: AiperfOptions) -> dict[str, Setting]:
    """Say what a load is, by name of the field."""
    fields = AiperfOptions.model_fields
    return {
        name: Setting(f"{place}: {fields[name].alias}", getattr(options, name))
        for name in (
            *("concurrency", "isl", "osl", "request_count", "model", "url"),
            *("streaming", "random_range_ratio", "random_corpus_style", "extra_inputs"),
        )
    }


def aiperf_options(recipe: Recipe, url: str, artifact_dir: str) -> AiperfOptions:
    """Load a deployment as the measured rows were: closed loop, uniform lengths, full outputs."""
    users = recipe.config.concurrency
    return AiperfOptions(
        model=recipe.settings.served_name,
        tokenizer=recipe.settings.model_path,
        url=url,
        endpoint_type="chat",
        streaming=True,
        isl=recipe.served.isl,
        osl=recipe.served.osl,
        random_range_ratio=SHORTEST,
        random_corpus_style="sglang",  # from the ratio up to the nominal length
        extra_inputs=[WHOLE_OUTPUT],
        concurrency=users,
        request_count=ROUNDS * users,
        warmup_request_count=WARMUP_ROUNDS * users,
        random_seed=1,
        wait_for_model_timeout=READY_SECONDS,
        ui="simple",
        artifact_dir=artifact_dir,
    )
