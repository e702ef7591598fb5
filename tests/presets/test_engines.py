from itertools import pairwise

import pytest

from presets import InputError, UnknownNameError, hardware_names, load_hardware
from presets.deployment_tools import load_dynamo
from presets.engines import load_engine, release_number
from presets.folders import engine_names

WITH_RECIPES = [name for name in engine_names() if load_engine(name).options]


def test_every_engine_says_what_it_runs_on() -> None:
    profiles = {load_hardware(name).kernel_profile for name in hardware_names()}
    served = {name: set(load_engine(name).runs_on.kernel_profiles) for name in engine_names()}
    assert set().union(*served.values()) == profiles
    assert all(load_engine(name).name == name for name in engine_names())
    assert WITH_RECIPES == ["sglang", "trtllm", "vllm"]


@pytest.mark.parametrize("name", WITH_RECIPES)
def test_every_engine_with_recipes_is_loaded_whole(name: str) -> None:
    engine = load_engine(name)
    assert engine.releases_of(engine.default_release) is engine.releases[-1]
    assert "{release}" in engine.tag
    assert len(set(engine.option_names)) == len(engine.option_names) > 100
    assert not set(engine.refused) & set(engine.option_names)


@pytest.mark.parametrize("name", WITH_RECIPES)
def test_ranges_of_releases_do_not_overlap(name: str) -> None:
    for before, after in pairwise(load_engine(name).releases):
        assert before.last is not None
        assert release_number(before.last) < release_number(after.first)


@pytest.mark.parametrize(
    ("release", "key", "wide_ep"),
    [
        ("1.2.0rc6", "num_nextn_predict_layers", True),
        ("1.2.0rc6.post3", "num_nextn_predict_layers", True),
        ("1.2.1", "num_nextn_predict_layers", True),
        ("1.3.0rc19", "max_draft_len", True),
        ("1.3.0rc25", "max_draft_len", False),
        ("1.3.0", "max_draft_len", False),
        ("1.4.0rc1", "max_draft_len", False),
    ],
)
def test_keys_and_back_ends_follow_the_release(release: str, key: str, wide_ep: bool) -> None:
    known = load_engine("trtllm").releases_of(release)
    assert known.traits["depth_key"] == key
    assert ("WIDEEP" in known.moe_backends) == wide_ep


@pytest.mark.parametrize("release", ["1.1.0", "1.3.0rc10", "0.8.1", "latest", "1.3", "1" * 60, ""])
def test_other_releases_are_refused(release: str) -> None:
    with pytest.raises(InputError, match=r"(valid: 1\.2\.0rc6|give one)"):
        load_engine("trtllm").releases_of(release)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'sglang'"):
        load_engine("sglan")


def test_back_ends_follow_experts_and_machine() -> None:
    choose = load_engine("trtllm").moe_backend
    assert choose("decode", "nvfp4", "blackwell", "dp", 8) == "CUTLASS"
    assert choose("decode", "nvfp4", "blackwell", "dp", 16) == "CUTEDSL"
    assert choose("decode", "nvfp4", "blackwell", "tp", 16) == "TRTLLM"
    assert choose("prefill", "fp8", "blackwell", "dp", 4) == "DEEPGEMM"
    assert choose("prefill", "fp8", "hopper", "dp", 8) == "CUTLASS"
    with pytest.raises(InputError, match="no MoE back-end for nvfp4 on hopper"):
        choose("decode", "nvfp4", "hopper", "tp", 8)


def test_images_ship_the_releases_that_are_known() -> None:
    dynamo, engine = load_dynamo(), load_engine("trtllm")
    shipping = dynamo.shipping("trtllm", engine.default_release)
    assert shipping is not None
    assert shipping.name == dynamo.default_release
    for each in dynamo.releases:
        engine.releases_of(each.engines["trtllm"])
    assert dynamo.shipping("trtllm", "9.9.9") is None


def test_every_machine_of_an_engine_with_recipes_for_dynamo_has_an_architecture() -> None:
    profiles = load_engine("trtllm").runs_on.kernel_profiles
    served = {name for name in hardware_names() if load_hardware(name).kernel_profile in profiles}
    assert set(load_dynamo().architectures) == served
