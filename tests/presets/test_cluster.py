from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from presets import (
    ClusterSpec,
    DataFileError,
    InputError,
    ScaleOut,
    UnknownNameError,
    cluster_faults,
    default_cluster,
    hardware_names,
    load_cluster,
    load_hardware,
)
from presets.cluster import OVERRIDES
from presets.errors import InputWarning
from presets.yaml_file import MAX_BYTES

FULL = """\
sku: b200
gpus: 64
name: the lab
gpus_per_domain: 16
gpus_per_node: 8
nvlink_gb_s: 800
nvlink_latency_us: 2
nic_gb_s: 100
nic_latency_us: 4.5
hbm_gb: 190
price_usd_per_hour: 3
power_watts: 1800
scale_out: {gpus_per_leaf: 64, spines: 2, oversubscription: 1.5}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_a_file_with_every_key(tmp_path: Path) -> None:
    spec = load_cluster(write(tmp_path, FULL))
    assert (spec.sku, spec.gpus) == ("b200", 64)
    assert spec.scale_out == ScaleOut(gpus_per_leaf=64, spines=2, oversubscription=1.5)
    machine = spec.hardware()
    assert (machine.name, machine.title) == ("b200", "the lab")
    overridden = {
        "gpus_per_domain": 16,
        "gpus_per_node": 8,
        "scale_up_rate": 800e9,
        "scale_up_latency": 2e-6,
        "scale_out_rate": 100e9,
        "scale_out_latency": 4.5e-6,
        "hbm_bytes": 190e9,
        "price_usd_per_hour": 3.0,
        "power_watts": 1800.0,
    }
    assert {fact for fact, _ in OVERRIDES.values()} == set(overridden)
    preset = load_hardware("b200")
    for name, value in overridden.items():
        fact, before = getattr(machine, name), getattr(preset, name)
        assert fact.value == pytest.approx(value, rel=1e-12), name
        assert (fact.unit, fact.kind, fact.source) == (before.unit, "assumed", "cluster file")
        assert fact.date == date.today()
        assert fact.alternatives[0].value == before.value
    assert machine.flops == preset.flops


def test_the_shortest_file_is_the_preset(tmp_path: Path) -> None:
    spec = load_cluster(str(write(tmp_path, "sku: gb200\ngpus: 72\n")))
    assert spec == default_cluster("gb200", 72)
    assert spec.hardware() == load_hardware("gb200")
    assert spec.scale_out == ScaleOut(gpus_per_leaf=32, spines=4, oversubscription=1.0)


@pytest.mark.parametrize("sku", hardware_names())
def test_every_machine_makes_a_cluster(sku: str) -> None:
    assert default_cluster(sku, 72).hardware() == load_hardware(sku)


def test_default_cluster_checks_its_arguments() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'gb200'"):
        default_cluster("gb20", 72)
    with pytest.raises(InputError, match="key gpus: 0 is not valid; it must be greater than"):
        default_cluster("gb200", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpus: 8", "key sku: is missing"),
        ("sku: b200", "key gpus: is missing"),
        ("sku: b200\ngpu: 8", "key gpu: is not a known key; did you mean 'gpus'"),
        ("sku: 200\ngpus: 8", "key sku: 200 is not valid; it must be text"),
        ("sku: ' '\ngpus: 8", "key sku: ' ' is no known machine; valid: b200, b300"),
        ("sku: gb20\ngpus: 8", "key sku: 'gb20' is no known machine; did you mean 'gb200'?"),
        ("sku: b200\ngpus: 0", "key gpus: 0 is not valid; it must be greater than or equal to 1"),
        ("sku: b200\ngpus: -8", "key gpus: -8 is not valid"),
        ("sku: b200\ngpus: 1000000", "it must be less than or equal to 131072"),
        ("sku: b200\ngpus: 8.5", "key gpus: 8.5 is not valid; it must be a whole number"),
        ("sku: b200\ngpus: '8.5'", "key gpus: 8.5 is not valid; it must be a whole number"),
        ("sku: b200\ngpus: true", "key gpus: True is not valid"),
        ("sku: b200\ngpus: .nan", "key gpus: nan is not valid"),
        ("sku: b200\ngpus: 8\nname: ''", "key name: '' is not valid; it must not be blank"),
        (
            "sku: b200\ngpus: 8\nhbm_gb: .nan",
            "hbm_gb: nan is not valid; it must be a finite number",
        ),
        (
            "sku: b200\ngpus: 8\nhbm_gb: .inf",
            "hbm_gb: inf is not valid; it must be a finite number",
        ),
        (
            "sku: b200\ngpus: 8\nhbm_gb: 0",
            "hbm_gb: 0 is not valid; it must be greater than or equal",
        ),
        (
            "sku: b200\ngpus: 8\nhbm_gb: -1.5",
            "hbm_gb: -1.5 is not valid; it must be greater than or equal to 0.001",
        ),
        (
            "sku: b200\ngpus: 8\nhbm_gb: big",
            "hbm_gb: 'big' is not valid; give a number, such as 180",
        ),
        (
            "sku: b200\ngpus: 8\nnic_gbs: 50",
            "key nic_gbs: is not a known key; did you mean 'nic_gb_s'",
        ),
        (
            "sku: b200\ngpus: 8\nscale_out: 4",
            "key scale_out: 4 is not valid; it must be keys and val",
        ),
        ("sku: b200\ngpus: 8\nscale_out: {spine: 4}", "scale_out.spine: .* did you mean 'spines'"),
        (
            "sku: b200\ngpus: 8\nscale_out: {oversubscription: 0.5}",
            "scale_out.oversubscription: 0.5 is not valid; it must be greater than or equal to 1",
        ),
        (
            "sku: b200\ngpus: 8\ngpus_per_domain: 3",
            "gpus_per_domain is 3; it must be a multiple of gpus_per_node, 8",
        ),
        ("sku: b200\ngpus: 8\n1: 3", "key 1: 1 is not valid; it must be text, as a key"),
        ("", "must hold keys and values, such as 'sku: b200'"),
        ("- b200", "must hold keys and values"),
        ("sku: b200\n gpus: 8: 4", "cluster.yaml, line 2: is not YAML"),
        ("sku: b200\nsku: gb200", "cluster.yaml, line 2, key sku: stands twice"),
        ("sku: b200\nscale_out:\n - {a: 1, a: 1}", "line 3, key a: stands twice"),
        ("a: &a [1]\nb: *a", "cluster.yaml, line 2: has an alias; write the value out"),
        ("a: " + "[" * 100_000, "line 1: is nested deeper than 20"),
        ("- " * 100_000, "line 1: is nested deeper than 20"),
        ("sku: !!python/name:os.system x", "line 1: is not YAML"),
        ("sku: b200\ngpus: " + "9" * 6000, "is not YAML: Exceeds the limit"),
        ("sku: b200\ngpus: 2026-01-45", "is not YAML: day "),
        ("sku: b200\ngpus: 8\n---\nsku: h100", "line 3: is not YAML"),
        ("sku: \x07", "is not YAML"),
        ("#" * (MAX_BYTES + 1), f"is longer than {MAX_BYTES} bytes"),
    ],
)
def test_bad_input_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message) as caught:
        load_cluster(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "cluster.yaml"))


def test_a_billion_laughs_end_at_the_first_alias(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(DataFileError, match="line 2: has an alias"):
        load_cluster(write(tmp_path, "\n".join(lines)))


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_bytes(b"sku: b200\ngpus: \xff")
    with pytest.raises(DataFileError, match="line 2: is not UTF-8 text"):
        load_cluster(path)
    with pytest.raises(DataFileError, match="cannot be read: Is a directory"):
        load_cluster(tmp_path)
    with pytest.raises(DataFileError, match="cannot be read: No such file"):
        load_cluster(tmp_path / "none")
    with pytest.raises(InputError, match="is not a file name"):
        load_cluster("a\0b")


def test_a_spec_is_frozen_and_can_be_a_key() -> None:
    spec = default_cluster("b200", 16)
    with pytest.raises(ValidationError, match="frozen"):
        spec.gpus = 8  # type: ignore[misc]
    assert {spec: 1}[ClusterSpec(sku="b200", gpus=16)] == 1


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_after_the_first_key_is_read_or_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(f"sku: b200\ngpus: 8\n{text}".encode("utf-8", "replace"))
    try:
        problem = "" if load_cluster(path).gpus == 8 else "read something else"
    except DataFileError as error:
        problem = str(error)
    assert problem == "" or problem.startswith(str(path))
    assert "\n" not in problem


def test_quantities_are_read_with_their_units(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "sku: b200\ngpus: '1,024'\nnic_gb_s: 400Gb/s\nnic_latency_us: 5000ns\nhbm_gb: 180GB\n"
        "price_usd_per_hour: $3.10\npower_watts: 2kW\nscale_out: {gpus_per_leaf: '32'}\n"
    )
    spec = load_cluster(path)
    assert (spec.gpus, spec.nic_gb_s, spec.nic_latency_us) == (1024, 50, 5)
    assert (spec.hbm_gb, spec.price_usd_per_hour, spec.power_watts) == (180, 3.1, 2000)


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("nic_gb_s: 400", "nic_gb_s: read as 400 GB/s, where 12.5 to 100 are usual; for Gb/s"),
        ("hbm_gb: 4", "key hbm_gb: read as 4 GB, where 80 to .* are usual$"),
        ("nic_latency_us: 5000", "for ns write 5000ns"),
        ("price_usd_per_hour: 300", "read as 300 USD/h"),
    ],
)
def test_what_no_machine_has_gets_a_note(tmp_path: Path, line: str, note: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(f"sku: b200\ngpus: 8\n{line}\n")
    with pytest.warns(InputWarning, match=note) as caught:
        load_cluster(path)
    assert len(caught) == 1


@pytest.mark.parametrize("spines", [65, 1024])
def test_a_fabric_too_large_to_hold_is_refused_at_once(tmp_path: Path, spines: int) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(f"sku: b200\ngpus: 4096\nscale_out: {{gpus_per_leaf: 1, spines: {spines}}}\n")
    with pytest.raises(DataFileError, match="cables; at most 262144 are held"):
        load_cluster(path)


def test_a_ratio_is_no_number_to_base_60(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    for value in ("2:1", "1" + ":1" * 196):
        path.write_text(f"sku: b200\ngpus: 8\nscale_out: {{oversubscription: {value}}}\n")
        with pytest.raises(DataFileError, match=r"oversubscription: '\d:1.* is not valid"):
            load_cluster(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("domains: [8, 0]", "domains.1: 0 is not valid"),
        ("gpus: 9\ndomains: [8, 8]", "domains: they hold 16 GPUs and gpus is 9"),
        ("gpus: 16\nfailed: [gpus]", "failed: 'gpus' names no part; give such as 'gpu 117'"),
        ("gpus: 16\nfailed: [gpu 16]", "failed: there is no gpu 16; this cluster has 16"),
        ("gpus: 16\nfailed: [gpu 9-3]", "'gpu 9-3' is no range; give the lower number first"),
        ("gpus: 16\nfailed: [uplink 0/9]", "there is no uplink 0/9; this cluster has 1 leaf and 4"),
        ("gpus: 16\nreserved: [leaf 0]", "reserved: 'leaf 0' names no part"),
        ("gpus: 16\nfailed: gpu 3", "key failed: 'gpu 3' is not valid"),
        ("gpus: 16\nscale_out: {halls: 2}", "halls 2 and hall_gb_s go together"),
        ("gpus: 16\nscale_out: {cores: 2}", "cores 2 join pods; give leaves_per_pod"),
        ("gpus: 16\nscale_out: {leaves_per_pod: 2}", "leaves the fabric in pieces"),
        ("gpus: 16\nscale_out: {hall_gb_s: 0}", "hall_gb_s: 0 is not valid"),
    ],
)
def test_faults_of_domains_tiers_and_parts(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, f"sku: b200\n{text}")
    with pytest.raises(DataFileError) as caught:
        load_cluster(path)
    assert message in str(caught.value)
    assert any(message in fault for fault in cluster_faults(path))


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    text = "sku: b20\ngpu: 8\ngpus: 16\nhbm_gb: 0\nnic_gb_s: 5 miles\nscale_out: {spines: 0}"
    faults = cluster_faults(write(tmp_path, text))
    for key in ("sku", "gpu", "hbm_gb", "nic_gb_s", "scale_out.spines"):
        assert sum(f"key {key}: " in fault for fault in faults) == 1
    assert len(faults) == 5
    agree = "sku: b200\ngpus: 16\ndomains: [8]\ngpus_per_node: 3\nfailed: [leaf 7, x]"
    assert len(cluster_faults(write(tmp_path, agree))) == 3
    both = "sku: b200\ngpus: 16\nhbm: 1\nnic_gb_s: -5\nfailed: [leaf 7, gpu 16]"
    assert len(cluster_faults(write(tmp_path, both))) == 4
    assert cluster_faults(write(tmp_path, "sku: b200\ngpus: 16")) == []
    assert len(cluster_faults(write(tmp_path, "- 1"))) == 1


def test_domains_give_the_gpus(tmp_path: Path) -> None:
    spec = load_cluster(write(tmp_path, "sku: gb200\ndomains: [72, 70, 64]"))
    assert (spec.gpus, spec.is_whole) == (206, False)
    assert spec.resized(72) == default_cluster("gb200", 72)
