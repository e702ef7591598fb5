import tomllib
from pathlib import Path

import pytest

from presets import ClusterSpec, InputError, UnknownNameError, load_machine, load_nic, nic_names
from presets.files import validated
from presets.folders import DATA, VARIABLE
from presets.nics import BOUNDS, Nic


@pytest.mark.parametrize("name", nic_names())
def test_every_fact_has_a_source_and_the_name_is_that_of_the_file(name: str) -> None:
    nic = load_nic(name)
    assert nic.name == name
    assert set(nic.facts) == set(BOUNDS)
    assert all(fact.source for fact in nic.facts.values())


def test_a_cluster_names_its_nic() -> None:
    cluster = validated(ClusterSpec, {"sku": "b200", "gpus": 64, "nic": "efa"})
    assert cluster.hardware().nic == load_nic("efa")
    assert cluster.preset.nic == load_nic("cx7-roce")
    with pytest.raises(InputError, match="nic: unknown NIC 'efb'; did you mean 'efa'"):
        validated(ClusterSpec, {"sku": "b200", "gpus": 64, "nic": "efb"})
    with pytest.raises(UnknownNameError, match="valid: cx7-ib"):
        load_nic("tokenring")


def test_an_assumed_fact_of_a_nic_can_be_supposed_otherwise() -> None:
    cluster = validated(ClusterSpec, {"sku": "b200", "gpus": 64, "nic": "efa"})
    assert cluster.assumed()["nic_kernel_factor"].value == 1.69
    supposed = cluster.supposing({"nic_kernel_factor": 1.15}).hardware()
    assert supposed.nic.kernel_factor.value == 1.15
    assert supposed.nic.hand_over_start == load_nic("efa").hand_over_start


def test_a_machine_names_its_nic_or_has_that_of_the_one_it_is_like(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nlike = "b200"\nnic = "thor2"\n')
    assert load_machine(path).nic == load_nic("thor2")
    path.write_text('name = "mine"\nlike = "b300"\n')
    assert load_machine(path).nic == load_nic("cx8")
    path.write_text('name = "mine"\nlike = "b300"\nnic = "thor3"\n')
    with pytest.raises(InputError, match="nic: unknown NIC 'thor3'; did you mean 'thor2'"):
        load_machine(path)


def test_a_nic_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nics").mkdir()
    text = (DATA / "nics" / "efa.toml").read_text().replace('"efa"', '"slow"')
    (tmp_path / "nics" / "slow.toml").write_text(text)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    cluster = validated(ClusterSpec, {"sku": "b200", "gpus": 64, "nic": "slow"})
    assert cluster.hardware().nic.name == "slow"


@pytest.mark.parametrize(
    ("old", "new"), [("value = 1.69", "value = 0.5"), ('unit = "s"', 'unit = "ms"')]
)
def test_a_fact_out_of_bounds_is_refused(old: str, new: str) -> None:
    content = tomllib.loads((DATA / "nics" / "efa.toml").read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=r"is not valid; it must be from"):
        validated(Nic, {**{k: v for k, v in content.items() if k != "facts"}, **content["facts"]})
