"""90 % intervals: how wide they are, and in what a configuration lies outside the data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from costmodel.calibration import HALF_WIDTHS, Calibration, Coverage
from costmodel.counts import attention_of
from costmodel.deviations import Traits
from costmodel.inputs import FloatArray
from costmodel.own_cluster import cluster_differs
from costmodel.resolve import resolve
from costmodel.results import Case, Scenario
from presets import ClusterSpec, Hardware, Model, load_model, model_names
from presets.attention import Attention
from presets.drafts import Draft
from presets.pools import Serving

MODEL_WEIGHT = 3.0
"""A model that was never measured counts as so many things outside the data. [1]"""

KIND_WEIGHT = 2.0
"""A precision or an attention mode that was never measured counts as two: FP4, or attention dp,
left out of the fit errs 2.0 to 2.6 times as much as in folds (docs/accuracy.md). [1]"""

FAR = 8.0
"""Ratio beyond which a length or a size outside the data counts once more. [1]

The lengths of the measured rows are as far apart, and rows of one predict those of the other
(docs/accuracy.md, kinds of rows left out of the fit).
"""

WIDEST = math.log(10.0)
"""Largest half-width, of the logarithm: an interval beyond tenfold either way says nothing more."""

ONE_SIDED = 1.6448536269514722
"""Standard deviations to either end of a 90 % interval, which 0.95 of all cases exceed. [1]"""

ANCHORED = 0.85
"""Factor on an interval of TPOT where own rows are of the deployment: so much narrower are errors
on points of a deployment of which one is given, in the 90th of a hundred (docs/corpus.md). The
shared constants hold the level of theirs, so that own rows were not seen to help. [1]"""

ARCHITECTURE = tuple(
    set(Model.model_fields)
    - {"name", "title", "hf_id", "provenance", "published_parameters", "published_active"}
    - {"checkpoint", "precisions", "draft_models"}
)
"""Fields of a model that its times rest on, but for the bits of each precision."""

IntervalClass = Literal["fp4", "fp8", "crossing", "aggregated", "corpus", "corpus_aggregated"]


def interval_class(case: Case, coverage: Coverage) -> IntervalClass:
    """Tell which half-widths a case has."""
    serving, gpus = case.configuration.serving, case.configuration.decode_gpus_per_worker
    if not is_shared(case.scenario, case.cluster.sku, serving, coverage):
        return corpus_class(serving)
    return worker_class(gpus, case.cluster, case.scenario.precision, serving)


def corpus_class(serving: Serving) -> IntervalClass:
    """Tell which half-widths cases have that no row behind the shared constants is of."""
    return "corpus_aggregated" if serving == "aggregated" else "corpus"


def worker_class(
    gpus: int, cluster: ClusterSpec, precision: str, serving: Serving
) -> IntervalClass:
    """Tell which half-widths decode workers of a size have [GPU], or those that do both.

    Of a machine, model, precision and engine that the shared constants were fitted to.
    """
    if gpus > cluster.hardware().gpus_per_domain.value:
        return "crossing"
    if serving == "aggregated":
        return "aggregated"
    return "fp4" if precision == "fp4" else "fp8"


class Outside(NamedTuple):
    """One thing in which a case lies outside the data."""

    reason: str
    weight: float = 1.0  # as so many things
    decode: bool = True  # whether decode steps feel it; if not, only TTFT and throughput do


def interval_widths(
    kind: IntervalClass,
    outside: Sequence[Outside],
    calibration: Calibration,
    *,
    anchored: bool = False,
) -> dict[str, float]:
    """Half-widths of the 90 % intervals, of the logarithm, wider for each extrapolation.

    That of TPOT is narrower where a user's own rows are of the deployment (`anchored`).
    """
    widening = calibration.extrapolation_widening ** sum(one.weight for one in outside)
    of_decode = calibration.extrapolation_widening ** sum(
        one.weight for one in outside if one.decode
    )
    tpot = getattr(calibration.tpot_half_width, kind) * of_decode
    if anchored:
        tpot *= narrowing(kind)
    ttft = getattr(calibration.ttft_half_width, kind) * widening
    widths = {
        "tpot": tpot,
        "iteration": tpot,
        "ttft": ttft,
        "ttft_median": ttft,
        "throughput": getattr(calibration.throughput_half_width, kind) * widening,
    }
    return {name: min(width, WIDEST) for name, width in widths.items()}


def narrowing(kind: IntervalClass) -> float:
    """Factor on the interval of TPOT where own rows are of the deployment [1].

    >>> narrowing("corpus"), narrowing("fp4")
    (0.85, 1.0)
    """
    return ANCHORED if kind in ("corpus", "corpus_aggregated") else 1.0


def width_traits(case: Case) -> Traits:
    """Name what the half-widths of a case deviate by."""
    scenario = case.scenario
    return Traits(
        engine=scenario.engine,
        kernel_profile=case.cluster.hardware().kernel_profile,
        format="",
        draft_format="",
        attention=attention_of(scenario.model),
    )


def with_own_widths(calibration: Calibration, traits: Traits) -> Calibration:
    """Join the deviations of half-widths alone."""
    deviations = calibration.deviations
    own = tuple(each for each in deviations if each.constant.partition(".")[0] in HALF_WIDTHS)
    return resolve(calibration._replace(deviations=own), traits)


def widths_of(
    case: Case, outside: Sequence[Outside], widths: Calibration, *, anchored: bool = False
) -> dict[str, float]:
    """Half-widths of a case; `widths` are those of its engine and attention (`with_own_widths`)."""
    kind = interval_class(case, widths.coverage)
    return interval_widths(kind, outside, widths, anchored=anchored)


def half_widths(
    cases: Sequence[Case], calibration: Calibration, anchored: Sequence[bool] | None = None
) -> dict[str, FloatArray]:
    """Half-widths of the intervals of many cases, by figure; shape ``(n,)``.

    `anchored` says which of them have own rows of the deployment.
    """
    known = anchored or [False] * len(cases)
    traits = [width_traits(case) for case in cases]
    own = {each: with_own_widths(calibration, each) for each in set(traits)}
    widths = [
        widths_of(case, extrapolations(case, calibration.coverage), own[kind], anchored=each)
        for case, kind, each in zip(cases, traits, known, strict=True)
    ]
    return {name: np.array([width[name] for width in widths]) for name in widths[0]}


def is_shared(scenario: Scenario, sku: str, serving: Serving, coverage: Coverage) -> bool:
    """Tell whether rows behind the shared constants are of a machine, model, precision and engine.

    So it is where no corpus was fitted to.
    """
    own = (coverage.aggregated if serving == "aggregated" else coverage) or coverage
    return coverage.corpus is None or (
        sku in own.skus and scenario.precision in own.precisions and holds_level(scenario, own)
    )


def holds_level(scenario: Scenario, coverage: Coverage) -> bool:
    """Tell whether the shared constants hold the level of a model on an engine, on any machine."""
    return scenario.engine in coverage.engines and _measured_model(scenario.model, coverage)


def spanned(scenario: Scenario, sku: str, serving: Serving, coverage: Coverage) -> Coverage:
    """Choose the rows that a case is held against: of the shared constants, or the corpus."""
    if coverage.corpus is None or is_shared(scenario, sku, serving, coverage):
        return coverage
    return coverage.corpus


def extrapolations(case: Case, coverage: Coverage) -> tuple[Outside, ...]:
    """In what a case lies outside the data that the calibration rests on.

    Workers that prefill and decode are held against rows of such workers alone.
    """
    coverage = spanned(case.scenario, case.cluster.sku, case.configuration.serving, coverage)
    if case.configuration.is_aggregated:
        if coverage.aggregated is None:
            mode = Outside("aggregated serving", KIND_WEIGHT)
            return (mode, *_served_outside(case, coverage), *_decode_outside(case, coverage))
        coverage = coverage.aggregated
        return (
            *(_aggregated(one) for one in _served_outside(case, coverage)),
            *(_aggregated(one) for one in _links_outside(case, coverage)),
            *(_aggregated(one) for one in _decode_outside(case, coverage)),
        )
    return (
        *_served_outside(case, coverage),
        *_links_outside(case, coverage),
        *_decode_outside(case, coverage),
        *_prefill_outside(case, coverage),
    )


def _aggregated(outside: Outside) -> Outside:
    """Name what lies outside the rows of one mode alone."""
    return outside._replace(reason=f"{outside.reason} in aggregated serving")


def _served_outside(case: Case, coverage: Coverage) -> Iterator[Outside]:
    """In machine, model, precision, engine and lengths."""
    scenario, sku = case.scenario, case.cluster.sku
    if sku not in coverage.skus:
        yield Outside(f"machine {sku}")
    if not _measured_model(scenario.model, coverage):
        yield Outside(f"model {scenario.model.name}", MODEL_WEIGHT)
        for kind in sorted(attention_kinds(scenario.model) - _measured_kinds(coverage)):
            yield Outside(f"attention of the kind {kind!r}", KIND_WEIGHT)
    if scenario.precision not in coverage.precisions:
        yield Outside(f"precision {scenario.precision}", KIND_WEIGHT)
    if scenario.engine not in coverage.engines:
        yield Outside(f"engine {scenario.engine}")
    if far := _distance(scenario.isl, coverage.isl):
        yield Outside(f"input length {scenario.isl}", far)
    if far := _distance(scenario.osl, coverage.osl):
        yield Outside(f"output length {scenario.osl}", far)
    if scenario.cached_share:
        one_pool = case.configuration.is_aggregated
        yield Outside(f"a cached share of {scenario.cached_share:g}", decode=one_pool)


def attention_kinds(model: Model) -> set[str]:
    """Name the kinds of attention of a model.

    >>> sorted(attention_kinds(load_model("gpt-oss-120b")))
    ['gqa', 'gqa with a window']
    """
    return {_kind_of(attention) for attention in model.attentions}


def _kind_of(attention: Attention) -> str:
    if getattr(attention, "index", None) is not None:
        return f"{attention.kind} with a sparse index"
    if attention.kind == "gqa" and attention.window is not None:
        return "gqa with a window"
    return attention.kind


def _measured_kinds(coverage: Coverage) -> set[str]:
    """Kinds of attention of the models that were measured, as far as they are presets."""
    known = (load_model(name) for name in coverage.models if name in model_names())
    return {kind for model in known for kind in attention_kinds(model)}


def _measured_model(model: Model, coverage: Coverage) -> bool:
    """Tell whether a model was measured: by its name, and as the preset of that name has it."""
    if model.name not in coverage.models:
        return False
    return model.name not in model_names() or all(
        getattr(model, field) == getattr(load_model(model.name), field) for field in ARCHITECTURE
    )


def _decode_outside(case: Case, coverage: Coverage) -> Iterator[Outside]:
    """In the decode workers and their batch."""
    configuration, cluster = case.configuration, case.cluster
    gpus, mode = configuration.decode_gpus_per_worker, configuration.decode_attention
    ep, slots, batch = configuration.decode_ep, configuration.eplb_slots, configuration.max_batch
    wide = gpus > cluster.hardware().gpus_per_domain.value
    batches = coverage.max_batch_dp if mode == "dp" else coverage.max_batch_tp
    if far := _distance(gpus, coverage.decode_gpus):
        yield Outside(f"{gpus} GPU{'s' if gpus > 1 else ''} per decode worker", far)
    if mode == "tp" and not wide and gpus > coverage.tp_gpus[1]:
        far = _distance(gpus, (1, coverage.tp_gpus[1]))
        yield Outside(f"attention tp over {gpus} GPUs", far)
    narrow = narrow_ep_of(cluster.hardware(), case.scenario.precision, mode, gpus, ep)
    if ep < gpus and narrow not in coverage.narrow_ep:
        yield Outside(f"EP {ep} over {gpus} GPUs under attention {mode}")
    if configuration.decode_attention_tp > 1:
        yield Outside(f"attention tp {configuration.decode_attention_tp} inside dp")
    yield from drafts_outside(case.scenario, configuration.draft, configuration.mtp_depth, coverage)
    if slots and (cluster.sku not in coverage.eplb_skus or _distance(slots, coverage.eplb_slots)):
        yield Outside(f"{slots} expert slots on {cluster.sku}")
    if batches == (0, 0):
        yield Outside(f"attention {mode}", KIND_WEIGHT)
    elif _distance(batch, batches):  # counts once: a promise to meet a target rests on that
        yield Outside(f"batch {batch} under attention {mode}")


def drafts_outside(
    scenario: Scenario, draft: Draft, depth: int, coverage: Coverage
) -> Iterator[Outside]:
    """In what drafts, and how deep; acceptance with a model goes with the model."""
    if not depth:
        return
    if draft not in coverage.drafts:
        yield Outside(f"drafts of the kind {draft!r}")
    deepest = scenario.acceptance_of(draft).deepest
    if 0 < deepest < depth:
        yield Outside(f"draft depth {depth}, beyond the {deepest} that acceptance is known of")


def narrow_ep_of(machine: Hardware, precision: str, attention: str, gpus: int, ep: int) -> str:
    """Name a worker whose EP is below its GPUs, as a coverage has it.

    >>> from presets import load_hardware
    >>> narrow_ep_of(load_hardware("b200"), "fp8", "tp", 8, 1)
    'blackwell fp8 tp 8/1'
    """
    return f"{machine.kernel_profile} {precision} {attention} {gpus}/{ep}"


def _links_outside(case: Case, coverage: Coverage) -> Iterator[Outside]:
    """In the links of the decode workers."""
    configuration, cluster = case.configuration, case.cluster
    gpus, exchange = configuration.decode_gpus_per_worker, configuration.exchange
    wide = gpus > cluster.hardware().gpus_per_domain.value
    if wide and (far := _crossing_distance(cluster, gpus, coverage)):
        yield Outside(f"{gpus} GPUs per decode worker across NVLink domains", far)
    elif wide and configuration.decode_attention == "dp" and exchange not in coverage.exchanges:
        yield Outside("tokens sent across NVLink domains by another kernel than any row names")
    if wide and cluster.nic_latency_us is not None:
        yield Outside("a NIC latency that no row has, between NVLink domains")
    if cluster_differs(cluster, coverage):
        yield Outside("links or memory that the cluster file changes")


def _prefill_outside(case: Case, coverage: Coverage) -> Iterator[Outside]:
    """In the prefill workers and their links, of which decode steps feel nothing."""
    configuration, cluster = case.configuration, case.prefill_on
    gpus = configuration.prefill_gpus_per_worker
    if gpus > cluster.hardware().gpus_per_domain.value:
        if far := _crossing_distance(cluster, gpus, coverage):
            reason = f"{gpus} GPUs per prefill worker across NVLink domains"
            yield Outside(reason, far, decode=False)
    elif far := _distance(gpus, coverage.prefill_gpus):
        reason = f"prefill workers of {gpus} GPU{'s' if gpus > 1 else ''}"
        yield Outside(reason, far, decode=False)
    if configuration.prefill_stages > 1:
        yield Outside(f"{configuration.prefill_stages} pipeline stages of prefill", decode=False)
    split = configuration.prefill_attention == "tp" and gpus > 1
    if split and "tp" not in coverage.prefill_attentions:
        yield Outside(f"prefill attention tp over {gpus} GPUs", decode=False)
    if cluster.sku != case.cluster.sku:
        reason = f"prefill on {cluster.sku} before decode on {case.cluster.sku}"
        yield Outside(reason, decode=False)
    if cluster_differs(cluster, coverage) and not cluster_differs(case.cluster, coverage):
        yield Outside("links or memory that the cluster file changes", decode=False)


def _crossing_distance(cluster: ClusterSpec, gpus: int, coverage: Coverage) -> float:
    """Tell how far a worker across NVLink domains is from those measured on its machine [1]."""
    if cluster.sku not in coverage.crossing_skus:
        return 1.0
    return _distance(gpus, (1, coverage.crossing_gpus))


def _distance(value: float, bounds: tuple[float, float]) -> float:
    """Count what lies outside its bounds as so many things; 0 inside [1].

    >>> [_distance(value, (1024, 8192)) for value in (2048, 8193, 65536, 524288)]
    [0.0, 1.0, 1.0, 2.0]
    """
    low, high = bounds
    if low <= value <= high:
        return 0.0
    ratio = low / value if value < low else value / max(high, 1.0)
    return max(1.0, math.log(ratio) / math.log(FAR))
