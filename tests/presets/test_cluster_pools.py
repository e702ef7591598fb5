from pathlib import Path

import pytest

from presets import (
    ClusterPools,
    ClusterSpec,
    InputError,
    cluster_faults,
    default_cluster,
    load_cluster,
    read_cluster,
)
from presets.cluster_file import pool_of
from presets.files import validated

TWO = """\
pools:
  servers: {sku: b200, gpus: 64, nic_gb_s: 400Gb/s, scale_out: {gpus_per_leaf: '16'}}
  rack: {sku: gb200, domains: [60], price_usd_per_hour: $2.10}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "pools.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_pool_is_a_cluster_by_the_same_keys(tmp_path: Path) -> None:
    found = read_cluster(write(tmp_path, TWO))
    assert isinstance(found, ClusterPools)
    servers, rack = found.pools.values()
    assert (servers.gpus, servers.nic_gb_s, servers.scale_out.gpus_per_leaf) == (64, 50, 16)
    assert (rack.gpus, rack.domains, rack.price_usd_per_hour) == (60, (60,), 2.1)
    assert validated(ClusterPools, found.to_json()) == found


def test_a_file_of_one_pool_is_that_pool_and_an_older_one_stays(tmp_path: Path) -> None:
    one = load_cluster(write(tmp_path, "pools: {all: {sku: b200, gpus: 64}}"))
    assert (
        one == load_cluster(write(tmp_path, "sku: b200\ngpus: 64")) == default_cluster("b200", 64)
    )
    assert isinstance(one, ClusterSpec)
    with pytest.raises(InputError, match="the cluster has the pools 'servers' \\(64 x b200\\) and"):
        load_cluster(write(tmp_path, TWO))


@pytest.mark.parametrize(
    ("name", "sku", "pool"),
    [("rack", None, "rack"), (None, "b200", "servers"), ("rack", "gb200", "rack")],
)
def test_a_pool_is_chosen_by_name_or_machine(
    name: str | None, sku: str | None, pool: str, tmp_path: Path
) -> None:
    found = read_cluster(write(tmp_path, TWO))
    assert isinstance(found, ClusterPools)
    assert found.chosen(name, sku) == pool
    assert pool_of(found, pool) == found.pools[pool]


@pytest.mark.parametrize(
    ("name", "sku", "said"),
    [
        (None, None, "the cluster has the pools 'servers' .* name one by --pool NAME"),
        ("rak", None, "pool: the cluster has no pool 'rak'; did you mean 'rack'"),
        (None, "h100", "'h100' is not the machine of the pools 'servers'"),
        ("rack", "b200", "'b200' is not the machine of the pool 'rack' \\(60 x gb200\\)"),
    ],
)
def test_what_names_no_pool_or_several_is_refused(
    name: str | None, sku: str | None, said: str, tmp_path: Path
) -> None:
    found = read_cluster(write(tmp_path, TWO))
    assert isinstance(found, ClusterPools)
    with pytest.raises(InputError, match=said):
        found.chosen(name, sku)


def test_a_cluster_without_pools_has_none_of_a_name() -> None:
    with pytest.raises(InputError, match="the cluster has no pools, and so none 'rack'"):
        pool_of(default_cluster("b200", 8), "rack")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pools: {}", ["key pools: must hold 1 to 64 pools by name"]),
        ("pools: [b200]", ["key pools: must hold 1 to 64 pools by name"]),
        ("pools: {a: 3}", ["key pools.a: must hold keys and values"]),
        ("pools: {3: {sku: b200, gpus: 8}}", ["key pools: 3 is no name; it must be text"]),
        (
            "gpus: 8\npools: {a: {sku: b200, gpus: 8}}",
            ["key gpus: is not a known key beside pools"],
        ),
        ("pools: {a: {sku: b200, gpus: 8}, a: {sku: b200, gpus: 8}}", ["key a: stands twice"]),
        (
            "gpu: 8\npools:\n  a: {sku: b20, gpus: 8.5, nic_gb_s: 50GB}\n"
            "  b: {sku: b200, gpus: 8, failed: [leaf 9], scale_out: {spine: 4}}\n",
            [
                "key gpu: is not a known key beside pools",
                "key pools.a.sku: 'b20' is no known machine",
                "key pools.a.nic_gb_s: '50GB' is not valid",
                "key pools.a.gpus: 8.5 is not valid; it must be a whole number",
                "key pools.b.scale_out.spine: is not a known key; did you mean 'spines'",
                "key pools.b: failed: there is no leaf 9",
            ],
        ),
    ],
)
def test_all_that_is_wrong_is_said_with_its_pool(
    text: str, said: list[str], tmp_path: Path
) -> None:
    path = write(tmp_path, text)
    found = cluster_faults(path)
    assert len(found) == len(said), found
    for each, part in zip(found, said, strict=True):
        assert part in each
    with pytest.raises(InputError) as caught:
        read_cluster(path)
    assert str(caught.value) in found
