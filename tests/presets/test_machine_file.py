import tomllib
from pathlib import Path
from typing import Any

import pytest

from presets import (
    ClusterSpec,
    InputError,
    cluster_faults,
    default_cluster,
    hardware_names,
    load_cluster,
    load_hardware,
    load_machine,
)
from presets.files import validated
from presets.machine_file import machine_of, machine_text

H20 = """\
name = "h20-like"
like = "h100"
[facts]
hbm_bytes = "96 GB"
hbm_rate = "4 TB/s"
flops = { bf16 = "148 TFLOP/s", fp8 = "296 TFLOPS" }
"""


def write(folder: Path, text: str, name: str = "machine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(InputError) as caught:
        load_machine(path)
    said = getattr(caught.value, "__notes__", [str(caught.value)])
    return [each.removeprefix(f"{path}").removeprefix(", key ") for each in said]


@pytest.mark.parametrize("sku", hardware_names())
def test_what_is_printed_of_a_preset_is_read_back_as_it(sku: str, tmp_path: Path) -> None:
    path = write(tmp_path, machine_text(load_hardware(sku)))
    assert load_machine(path) == load_hardware(sku)


def test_what_a_file_leaves_out_is_that_of_the_machine_it_is_like(tmp_path: Path) -> None:
    machine, h100 = load_machine(write(tmp_path, H20)), load_hardware("h100")
    assert (machine.name, machine.title) == ("h20-like", "h20-like")
    assert (machine.hbm_bytes.value, machine.hbm_rate.value) == (96e9, 4e12)
    assert {name: rate.value for name, rate in machine.flops.items()} == {
        "bf16": 148e12,
        "fp8": 296e12,
    }
    assert (machine.hbm_rate.kind, machine.hbm_rate.source) == ("assumed", "machine file")
    assert (machine.scale_up_rate, machine.kernel_profile) == (h100.scale_up_rate, "hopper")


def test_a_fact_and_its_alternatives_are_converted() -> None:
    fact: dict[str, Any] = {
        "value": 800,
        "unit": "Gb/s",
        "source": "a datasheet",
        "date": "2026-11-01",
        "kind": "datasheet",
        "alternatives": [{"value": 400, "source": "another", "date": "2026-10-01"}],
    }
    found = machine_of({"name": "mine", "like": "b200", "scale_out_rate": fact}).scale_out_rate
    assert (found.value, found.unit, found.alternatives[0].value) == (100e9, "B/s", 50e9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('like = "b200"', ["name: is missing; give text", "title: is missing"]),
        ('name = "b200"\nlike = "b200"\nhbm_bytes = "96 GB"', ["name: 'b200' is a known machine"]),
        ('name = "b200"\nlike = "b200"\nscale_up = "mesh"', ["with another scale_up"]),
        ('name = "x"\nlike = "b20"', ["like: unknown hardware 'b20'; did you mean 'b200'"]),
        ('name = "x"\nlike = 3', ["like: unknown hardware '3'"]),
        ('name = "x"\nlike = "b200"\nhbm_rate = 8e12', ["give a number with its unit, such as"]),
        ('name = "x"\nlike = "b200"\nhbm_rate = "8"', ["hbm_rate: '8' is not valid; give"]),
        ('name = "x"\nlike = "b200"\nhbm_rate = "8 GB"', ["'GB' is no unit of B/s; give such as"]),
        ('name = "x"\nlike = "b200"\nhbm_rate = "0 GB/s"', ["it must be from 1e+06 to 1e+15 B/s"]),
        ('name = "x"\nlike = "b200"\nhbm_rate = "nan GB/s"', ["hbm_rate: 'nan GB/s' is not valid"]),
        ('name = "x"\nlike = "b200"\ngpus_per_node = 8.5', ["8.5 is not valid"]),
        ('name = "x"\nlike = "b200"\nflops = {fp8 = "1 PFLOP/s"}', ["flops: bf16 is missing"]),
        (
            'name = "x"\nlike = "b200"\nflops = {bf16 = "1 PFLOP/s"}',
            ["attention_format: 'fp8' has no rate under flops; give one of bf16"],
        ),
        (
            'name = "x"\nlike = "b200"\nscale_up_latency = "1 ms"',
            ["scale_up_latency: 0.001 s is not valid; it must be below scale_out_latency"],
        ),
        (
            'name = "x"\nlike = "b200"\nkernel_profile = "hoper"\nhbm = "96 GB"\n'
            'scale_up = "ring"\n'
            'flops = {bf16 = "1 PFLOP/s", fp6 = 2}',
            [
                "kernel_profile: 'hoper' is none that an engine has kernels for; did you mean",
                "scale_up: 'ring' is not valid; it must be 'switch', 'mesh' or 'torus'",
                "flops.fp6: 'fp6' is no number format; valid: bf16, fp8, fp4",
                "flops.fp6: 2 is not valid; give a number with its unit, such as '2250 TFLOP/s'",
                "hbm: is not a known key; did you mean 'hbm_bytes'",
            ],
        ),
    ],
)
def test_all_that_is_wrong_is_said_a_sentence_each(
    text: str, said: list[str], tmp_path: Path
) -> None:
    found = faults(tmp_path, text)
    assert len(found) == len(said), found
    for each, part in zip(found, said, strict=True):
        assert part in each
        assert "\n" not in each


def test_what_is_missing_is_said_with_how_it_is_written(tmp_path: Path) -> None:
    found = faults(tmp_path, 'name = "x"')
    assert "hbm_bytes: is missing; give such as '180 GB', or like = 'b200'" in found
    assert "kernel_profile: is missing; give text" in found


def test_a_known_machine_may_have_another_price_and_power(tmp_path: Path) -> None:
    text = 'name = "b200"\nlike = "b200"\nprice_usd_per_hour = "$3.10"\npower_watts = "1.8 kW"\n'
    machine = load_machine(write(tmp_path, text))
    assert (machine.price_usd_per_hour.value, machine.power_watts.value) == (3.1, 1800.0)


def test_a_cluster_names_the_file_of_its_machine_or_holds_its_keys(tmp_path: Path) -> None:
    write(tmp_path, H20)
    named = load_cluster(write(tmp_path, "machine: machine.toml\ngpus: 16", "cluster.yaml"))
    assert (named.sku, named.gpus) == ("h20-like", 16)
    assert named == default_cluster(load_machine(tmp_path / "machine.toml"), 16)
    text = "machine: {name: mine, like: h100, hbm_bytes: 96 GB}\nnic_gb_s: 25\ngpus: 16\n"
    held = load_cluster(write(tmp_path, text, "cluster.yaml"))
    machine = held.hardware()
    assert (machine.hbm_bytes.value, machine.scale_out_rate.value) == (96e9, 25e9)
    assert validated(ClusterSpec, held.to_json()) == held
    assert len({held, named, held}) == 2


def test_faults_of_a_machine_are_among_those_of_its_cluster(tmp_path: Path) -> None:
    text = "machine: {name: mine, like: h100, hbm_bytes: 96 GB/s, hbm: 3}\nnic_gb_s: 25 GB\n"
    found = cluster_faults(write(tmp_path, text, "cluster.yaml"))
    assert [each.split(", key ")[1].split(":")[0] for each in found] == [
        "machine.hbm_bytes",
        "machine.hbm",
        "nic_gb_s",
        "gpus",
    ]
    text = "machine: none.toml\ngpus: 8"
    assert "none.toml: cannot be read" in cluster_faults(write(tmp_path, text, "cluster.yaml"))[0]
    text = "sku: b200\nmachine: {name: mine, like: b200}\ngpus: 8"
    (fault,) = cluster_faults(write(tmp_path, text, "cluster.yaml"))
    assert "sku: 'b200' is not the machine, 'mine'; leave out one of the two" in fault


def test_a_text_survives_whatever_its_letters(tmp_path: Path) -> None:
    machine = load_hardware("b200").model_copy(update={"title": 'a "quoted" \\ title \u2028 é'})
    assert machine_of(tomllib.loads(machine_text(machine))).title == machine.title
