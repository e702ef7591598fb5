"""What is planned of a model of a file: its checkpoint, or what is assumed in its place."""

import json
from pathlib import Path
from typing import Any

import pytest

import moeplan
from costmodel.calibration_file import shipped_calibration
from costmodel.intervals import attention_kinds
from moeplan.answers.rows import outside
from moeplan.catalogue import preset_of
from moeplan.options import Options
from moeplan.recipes.question import Request, recipe_for_configuration
from presets import InputWarning, load_model

CONFIGS = json.loads(
    (Path(__file__).parents[1] / "presets" / "data" / "configs.json").read_text(encoding="utf-8")
)
DEPLOYMENT = moeplan.Configuration(
    prefill_workers=1,
    prefill_gpus_per_worker=8,
    decode_workers=1,
    decode_gpus_per_worker=8,
    decode_ep=8,
    decode_attention="dp",
    max_batch=16,
    mtp_depth=0,
    concurrency=64,
)


def folder(path: Path, name: str, scheme: dict[str, Any] | None = None) -> str:
    content = CONFIGS[name] | ({"quantization_config": scheme} if scheme else {})
    (path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_checkpoint_is_planned_as_it_is(tmp_path: Path) -> None:
    model = folder(tmp_path, "qwen3-235b-a22b", {"quant_method": "fp8"})
    found = moeplan.predict("b200", DEPLOYMENT, Options(model=model))
    assert found.scenario.precision == "fp8"
    narrow = moeplan.predict("b200", DEPLOYMENT, Options(model=model, precision="fp4"))
    assert narrow.scenario.precision == "fp4"


def test_a_machine_that_cannot_multiply_a_checkpoint_is_told_so(tmp_path: Path) -> None:
    model = folder(tmp_path, "qwen3-235b-a22b", {"quant_algo": "NVFP4"})
    with pytest.raises(
        moeplan.InputError,
        match=r"^model: the checkpoint of .* is fp4 \(experts in NVFP4, one FP8 scale per 16 "
        r"weights\), which h200 cannot multiply; choose another machine, another checkpoint, or "
        r"with --precision: bf16$",
    ):
        moeplan.best("h200", 30.0, Options(model=model))
    with pytest.raises(moeplan.InputError, match="'fp4': h200 has no FP4 rate; valid: bf16"):
        moeplan.best("h200", 30.0, Options(model=model, precision="fp4"))


def test_a_preset_and_its_file_refuse_alike(tmp_path: Path) -> None:
    model = folder(tmp_path, "gpt-oss-120b", {"quant_method": "mxfp4"})
    for each in (model, "gpt-oss-120b"):
        with pytest.raises(moeplan.InputError, match="is not offered at fp8; valid: fp4, bf16"):
            moeplan.best("h200", 60.0, Options(model=each, precision="fp8"))


def test_what_is_assumed_of_a_file_is_said(tmp_path: Path) -> None:
    model = folder(tmp_path, "qwen3-235b-a22b")
    with pytest.warns(InputWarning, match="says nothing of quantisation and is planned in fp4"):
        moeplan.predict("b200", DEPLOYMENT, Options(model=model))
    moeplan.predict("b200", DEPLOYMENT, Options(model=model, precision="fp4"))  # warns of nothing


def test_int4_runs_where_there_is_no_fp4_but_has_no_recipe(tmp_path: Path) -> None:
    found = moeplan.predict("h200", DEPLOYMENT, Options(model="kimi-k2.5", precision="int4"))
    assert found.prediction.origin == "extrapolated"
    with pytest.raises(moeplan.InputError, match="'int4' has no recipes; valid: fp4, bf16"):
        recipe_for_configuration(
            "h200", DEPLOYMENT, Options(model="kimi-k2.5", precision="int4"), Request("vllm")
        )


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_model_is_predicted_and_says_in_what_it_is_extrapolated(
    name: str, tmp_path: Path
) -> None:
    # Of each kind of attention, but those of the rows that the calibration rests on.
    path = folder(tmp_path, name)
    model = load_model(path)
    sizes = {"prefill_gpus_per_worker": 16, "decode_gpus_per_worker": 16, "max_batch": 2}
    sizes["decode_ep"] = min(16, model.experts)
    found = moeplan.predict(
        "gb300",
        DEPLOYMENT.model_copy(update=sizes),
        Options(model=path, precision="fp4", isl=2048, osl=64),
    )
    coverage = shipped_calibration().coverage.corpus
    assert coverage is not None
    measured = {kind for known in coverage.models for kind in attention_kinds(load_model(known))}
    said = str(outside(found.prediction))
    assert found.prediction.origin == "extrapolated"
    for kind in attention_kinds(model):
        assert (kind in measured) != (f"attention of the kind '{kind}'" in said)


@pytest.mark.parametrize("name", ["qwen3.5-35b-a3b", "nemotron3-nano", "deepseek-v4-flash"])
def test_the_best_deployment_of_a_model_that_no_preset_has(name: str, tmp_path: Path) -> None:
    options = Options(model=folder(tmp_path, name), precision="fp8", max_gpus=16)
    found = moeplan.best("h200", 40.0, options)
    assert found.status == "optimal"
    assert found.prediction is not None
    assert found.prediction.tok_s_per_user >= 40.0


def test_a_file_is_shown_as_presets_are(tmp_path: Path) -> None:
    content = preset_of(folder(tmp_path, "deepseek-v3.2", {"quant_method": "fp8"})).content()
    assert content["parameters"] == pytest.approx(671.9e9, rel=1e-3)
    assert content["active_parameters"] == pytest.approx(37.5e9, rel=1e-3)
    assert content["kept_bytes"]["fp8"]["1024"] == 1024 * 43188
