"""The README of a recipe: what it is, what was predicted, and the commands that use it."""

from __future__ import annotations

import shlex

from costmodel.results import Configuration
from moeplan.recipes.benchmark import RESULT
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.markdown import block, code, prose, rows
from moeplan.recipes.placement import lay_out, place_recipe
from moeplan.recipes.recipe import Recipe
from moeplan.render.common import chance, count, priced
from moeplan.render.placement import placement_lines
from presets.engines import load_engine

TITLES = {
    "tok_s_per_user": ("Interactivity, tok/s/user", ",.1f"),
    "total_tok_s_per_gpu": ("Throughput, tok/s/GPU", ",.0f"),
    "usd_per_m_total_tokens": ("Cost, $ per million tokens", ".4f"),
    "tpot_ms": ("TPOT, ms", ",.2f"),
    "ttft_ms": ("TTFT, ms", ",.0f"),
    "ttft_median_ms": ("Median TTFT, ms", ",.0f"),
}


def readme(recipe: Recipe) -> str:
    """Write the README of a recipe."""
    parts = [
        _head(recipe),
        _configuration(recipe),
        _prediction(recipe),
        _placement(recipe),
        *FORMATS[recipe.format].guide(recipe),
        _back(recipe),
    ]
    return "\n\n".join(parts) + "\n"


def _head(recipe: Recipe) -> str:
    served, engine = recipe.served, load_engine(FORMATS[recipe.format].engine)
    machine = prose(recipe.machine.title)
    return (
        f"# {recipe.settings.name}\n\n"
        f"{code(recipe.settings.served_name)} in {served.precision} on {machine}, "
        f"{served.isl} tokens in, {served.osl} out, with {engine.title} {recipe.engine_release}. "
        f"Written by `moeplan recipe --format {recipe.format}`; `moeplan recipe check` judges this "
        "folder, also after it was edited by hand." + _safe_note(recipe)
    )


def _safe_note(recipe: Recipe) -> str:
    """Say what a safe choice keeps, and how surely."""
    safe = recipe.safe
    if safe is None:
        return ""
    limits = {"target": f"{safe.target_tok_s_per_user:g} tok/s/user", "max_ttft": ""}
    if safe.max_ttft_s is not None:
        limits["max_ttft"] = f"a mean TTFT of {safe.max_ttft_s:g} s"
    met = [f"{limits[name]}: {chance(value)}" for name, value in safe.chance_to_meet.items()]
    return (
        "\n\nThis is the safe choice: the best inside the data of the calibration whose chance to "
        f"meet each limit is {chance(safe.confidence)} or more ({'; '.join(met)})."
    )


def _configuration(recipe: Recipe) -> str:
    config = recipe.config
    holder = "rank" if config.decode_attention == "dp" else "worker"
    slots = str(config.eplb_slots) if config.eplb_slots else "none"
    return (
        "## Configuration\n\n"
        + rows(
            ("what", "value"),
            *_pools(config),
            ("batch", f"{config.max_batch} requests per {holder}"),
            ("draft depth", str(config.mtp_depth)),
            *([("draft head", code(head))] if (head := recipe.settings.draft_path) else []),
            ("expert slots", slots),
            ("concurrency", f"{config.concurrency} requests"),
            ("GPUs", str(config.gpus)),
        )
        + (f"\n\nThe largest batch {recipe.batch_note}." if recipe.batch_note else "")
        + _stream_note(recipe)
    )


def _pools(config: Configuration) -> list[tuple[str, str]]:
    decode = (
        f"{config.decode_workers} x {config.decode_gpus_per_worker} GPUs, EP {config.decode_ep}, "
        f"attention {config.decode_attention}"
    )
    if config.is_aggregated:
        return [("prefill and decode in one pool", decode)]
    prefill = (
        f"{config.prefill_workers} x {config.prefill_gpus_per_worker} GPUs, attention "
        f"{config.prefill_attention}"
    )
    return [("prefill", prefill), ("decode", decode)]


def _stream_note(recipe: Recipe) -> str:
    """Say what the measured recipes set for throughput, and people would not want."""
    name = "mixed_stream_interval" if recipe.config.is_aggregated else "stream_interval"
    interval = load_engine(FORMATS[recipe.format].engine).settings.get(name)
    if interval is None:
        return ""
    return (
        f"\n\nTokens are sent in groups of {interval.value:.0f} steps, as in the recipes that the "
        "model is calibrated on; set the stream interval to 1 where people read along."
    )


def _prediction(recipe: Recipe) -> str:
    prediction = recipe.prediction
    if prediction is None:
        return "## Prediction\n\nNone was made."
    table = [("figure", "predicted", "90 % interval")]
    for key, (title, digits) in TITLES.items():
        low, high = prediction.interval_90[key]
        value = getattr(prediction, key)
        table.append(
            (title, format(value, digits), f"{format(low, digits)} to {format(high, digits)}")
        )
    origin = "Modelled, inside the range of the calibration data."
    if prediction.origin == "extrapolated":
        origin = f"Extrapolated, in: {prose(', '.join(prediction.extrapolated_in))}."
    machine = recipe.machine
    price = priced([(f"at ${machine.usd_per_hour:.2f} per GPU-hour", machine.prices)])
    return f"## Prediction\n\n{rows(*table)}\n\n{origin} Cost {price}."


def _placement(recipe: Recipe) -> str:
    machine, layout = recipe.machine, lay_out(recipe)
    lines = [
        f"{prose(machine.title)}: servers of {machine.gpus_per_node} GPUs "
        f"({machine.architecture}), NVLink domains of {machine.gpus_per_domain} GPUs."
    ]
    for role, spread in layout.spread.items():
        title = "prefill and decode" if recipe.config.is_aggregated else role
        lines.append(
            f"- {title}: {count(recipe.workers(role), 'worker')}, each on "
            f"{count(spread.nodes, 'node')}, {count(spread.gpus_per_node, 'GPU')} of it"
        )
    if layout.pack == "deployment":
        lines.append("- all workers in one NVLink domain, so that the KV cache moves over NVLink")
    if layout.pack == "worker":
        lines.append("- each worker inside one NVLink domain")
    if layout.claiming and set(layout.claiming) != set(layout.spread):
        lines.append(
            "- workers smaller than a server share servers and claim no channel of the compute "
            "domain: their KV cache moves by NIC"
        )
    places = [f"- {line}" for line in placement_lines(place_recipe(recipe))]
    found = "Side by side, as the search places them on an empty cluster:"
    return "## Machine and placement\n\n" + "\n".join(
        [lines[0], "", *lines[1:], "", found, "", *places]
    )


def _back(recipe: Recipe) -> str:
    """Join what was run and what was measured into a row that validate reads.

    Medians over requests, each in the column of medians: the statistic of every published row.
    """
    ttft, tpot, throughput = FORMATS[recipe.format].result_keys
    program = (
        '"ttft_median_ms,tpot_median_ms,total_tok_s_per_gpu", '
        f"([{ttft}, {tpot}, {throughput} / {recipe.config.gpus}] | @csv)"
    )
    return (
        "## Bring the result back\n\nconfiguration.csv holds what was run; the measured medians go "
        "beside it.\n\n"
        + block(
            f"jq -r {shlex.quote(program)} {RESULT} \\",
            "  | paste -d, configuration.csv - > measured.csv",
            "moeplan validate measured.csv",
        )
    )
