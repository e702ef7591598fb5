"""Where every worker goes: as searched, as priced, as charged, and as printed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import moeplan
from costmodel.results import Configuration
from moeplan.answers.placement import Domain, WorkerPart, placement_of
from moeplan.render.placement import placement_lines
from optimizer import Space
from optimizer.placement import packs, roomy
from optimizer.resources import Resources
from presets import ClusterSpec, InputError, ScaleOut, default_cluster
from tests.samples import changed
from topology import group_table

if TYPE_CHECKING:
    from tests.moeplan.conftest import BestOf
    from tests.samples import Command

SIZES = st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 20, 32, 64, 72])
Whole = tuple[str, str, int, int]


def shape(prefill: tuple[int, int], decode: tuple[int, int], **changes: Any) -> Configuration:
    """Workers of both roles: how many, and GPUs of each."""
    sizes = {
        "prefill_workers": prefill[0],
        "prefill_gpus_per_worker": prefill[1],
        "decode_workers": decode[0],
        "decode_gpus_per_worker": decode[1],
        "decode_ep": decode[1],
    }
    return changed(**sizes | changes)


def parts_of(placement: tuple[Domain, ...]) -> dict[Whole, list[tuple[Domain, WorkerPart]]]:
    """Every worker with its parts."""
    parts: dict[Whole, list[tuple[Domain, WorkerPart]]] = defaultdict(list)
    for domain in placement:
        for worker in domain.workers:
            name = domain.sku, worker.role, worker.replica, worker.worker
            parts[name].append((domain, worker))
    return parts


def lines(config: Configuration, cluster: ClusterSpec, replicas: int = 1) -> list[str]:
    return placement_lines(placement_of(config, Resources(cluster), replicas))


@settings(max_examples=150, deadline=None)
@given(
    sku=st.sampled_from(["gb200", "b200", "h100"]),
    gpus=st.integers(8, 300),
    prefill=st.tuples(st.integers(1, 6), SIZES),
    decode=st.tuples(st.integers(1, 6), SIZES),
    replicas=st.integers(1, 3),
    leaf=st.sampled_from([8, 24, 32]),
    elsewhere=st.sampled_from([None, "b200", "gb200"]),
)
def test_laws(
    sku: str,
    gpus: int,
    prefill: tuple[int, int],
    decode: tuple[int, int],
    replicas: int,
    leaf: int,
    elsewhere: str | None,
) -> None:
    fabric = {"gpus_per_leaf": leaf}
    cluster = ClusterSpec.model_validate({"sku": sku, "gpus": gpus, "scale_out": fabric})
    apart = None
    if elsewhere not in (None, sku):
        apart = default_cluster(str(elsewhere), gpus)
    config = shape(prefill, decode)
    resources = Resources(cluster, apart)
    groups = (decode[1], decode[0] * replicas), (prefill[1], prefill[0] * replicas)
    if not resources.has_room(*groups):
        with pytest.raises(InputError, match="find no room side by side"):
            placement_of(config, resources, replicas)
        return
    placement = placement_of(config, resources, replicas)

    clusters = {each.sku: each for each in (apart, cluster) if each is not None}
    for name, there in clusters.items():  # no GPU twice, none from elsewhere
        domains = [domain for domain in placement if domain.sku == name]
        size = int(there.hardware().gpus_per_domain.value)
        numbers = [n for domain in domains for each in domain.workers for n in each.gpu_numbers]
        assert len(numbers) == len(set(numbers))
        assert all(0 <= number < there.gpus for number in numbers)
        for domain in domains:
            held = [n for each in domain.workers for n in each.gpu_numbers]
            assert {number // size + 1 for number in held} == {domain.domain}
            assert domain.gpus == min(size, there.gpus - (domain.domain - 1) * size)
            assert domain.free_gpus == domain.gpus - len(held) >= 0
    used = sum(domain.gpus - domain.free_gpus for domain in placement)
    assert used == replicas * config.gpus

    workers = parts_of(placement)
    counted = Counter(role for _, role, _, _ in workers)
    assert counted == {"prefill": replicas * prefill[0], "decode": replicas * decode[0]}
    for (name, role, _, _), parts in workers.items():
        there, size = clusters[name], {"prefill": prefill, "decode": decode}[role][1]
        assert sum(each.gpus for _, each in parts) == size  # whole
        assert all(each.gpus == len(each.gpu_numbers) for _, each in parts)
        assert {each.of_gpus for _, each in parts} == {size}
        # The links that were priced: as many domains, with as many GPUs of the worker in each.
        priced = group_table(there, [size])[size]
        room = int(there.hardware().gpus_per_domain.value)
        assert len(parts) == priced.domains == math.ceil(size / room)
        assert sorted((e.gpus for _, e in parts), reverse=True) == list(priced.domain_sizes)


@pytest.mark.parametrize("sku", ["b200", "gb200"])
def test_an_answer_says_where_the_links_are_that_it_reports(best_of: BestOf, sku: str) -> None:
    found = best_of(sku, 125.0)
    assert found.deployment is not None
    assert found.config is not None
    decode = [parts for name, parts in parts_of(found.placement).items() if name[1] == "decode"]
    assert len(decode) == found.config.decode_workers
    assert {len(parts) for parts in decode} == {found.deployment.links.domains}
    assert found.placement == found.deployment.placement
    assert sum(domain.gpus - domain.free_gpus for domain in found.placement) == found.config.gpus
    assert all(each.links_as_priced for domain in found.placement for each in domain.workers)


def test_keys(best_of: BestOf) -> None:
    content = best_of("b200", 125.0).to_json()["placement"]
    assert list(content[0]) == ["sku", "domain", "gpus", "free_gpus", "workers"]
    assert list(content[0]["workers"][0]) == [
        "role",
        "replica",
        "worker",
        "gpus",
        "of_gpus",
        "gpu_numbers",
        "links_as_priced",
    ]


@pytest.mark.parametrize("sku", ["b200", "gb200"])
def test_replicas_stand_in_the_domains_that_are_charged(sku: str, space: Space) -> None:
    options = moeplan.Options(billing="domain")
    found = moeplan.best(sku, 75.0, options, space=space)
    assert found.billing is not None
    assert sum(domain.gpus for domain in found.placement) == found.billing.charged_gpus
    assert sum(domain.free_gpus for domain in found.placement) == found.billing.stranded_gpus
    replicas = {each.replica for domain in found.placement for each in domain.workers}
    assert replicas == set(range(1, found.billing.replicas + 1))


@settings(max_examples=60, deadline=None)
@given(
    sku=st.sampled_from(["gb200", "b200"]),
    prefill=st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 4, 8])),
    decode=st.tuples(st.integers(1, 4), st.sampled_from([4, 8, 16, 32])),
)
def test_the_bill_is_of_the_placement(
    sku: str, prefill: tuple[int, int], decode: tuple[int, int]
) -> None:
    resources = Resources(default_cluster(sku, 216))
    bill = resources.bill(decode[::-1], prefill[::-1], 216)
    assert bill is not None
    placement = placement_of(shape(prefill, decode), resources, bill.replicas)
    assert sum(domain.gpus for domain in placement) == bill.charged
    assert sum(domain.free_gpus for domain in placement) == bill.stranded


def test_links_that_are_not_as_priced_are_named() -> None:
    # Leaves of 24: GPUs 0 to 15 hang on one, 16 to 31 on two.
    fabric = ScaleOut(gpus_per_leaf=24, oversubscription=4.0)
    cluster = ClusterSpec(sku="b200", gpus=64, scale_out=fabric)
    config = shape((1, 4), (2, 16))
    placement = placement_of(config, Resources(cluster))
    as_priced = {
        name[1:]: parts[0][1].links_as_priced for name, parts in parts_of(placement).items()
    }
    assert as_priced == {
        ("decode", 1, 1): False,
        ("decode", 1, 2): True,
        ("prefill", 1, 1): True,
    }
    said = placement_lines(placement)
    assert said[-1] == "predicted with the links of the slowest of its role, but faster: decode 1"
    assert len(lines(config, default_cluster("b200", 64))) == len(said) - 1


@pytest.mark.parametrize(
    ("sku", "gpus", "prefill", "decode", "replicas", "text"),
    [
        (
            "b200",
            72,
            (1, 4),
            (8, 8),
            1,
            ["servers 1-8: decode 1-8 (8 GPUs each)", "server 9: prefill 1 (4 GPUs), 4 free"],
        ),
        (
            "gb200",
            72,
            (1, 4),
            (4, 8),
            1,
            ["domain 1: prefill 1 (4 GPUs), decode 1-4 (8 GPUs each), 36 free"],
        ),
        (
            "gb200",
            72,
            (1, 4),
            (1, 32),
            2,
            [
                "domain 1: prefill 1 of replicas 1-2 (4 GPUs each), "
                "decode 1 of replicas 1-2 (32 GPUs each)"
            ],
        ),
        (
            "b200",
            64,
            (1, 2),
            (2, 20),
            1,
            [
                "servers 1-4: decode 1-2 (20 GPUs each, 8 to a server)",
                "server 5: decode 1-2 (4 of 20 GPUs each)",
                "server 6: prefill 1 (2 GPUs), 6 free",
                # The last 4 GPUs of each hang on the second leaf; priced are GPUs 0 to 19.
            ],
        ),
        (
            "gb200",
            72,
            (1, 1),
            (3, 16),
            1,
            ["domain 1: prefill 1 (1 GPU), decode 1-3 (16 GPUs each), 23 free"],
        ),
        (
            "gb200",
            144,
            (1, 4),
            (3, 32),
            1,
            [
                "domain 1: prefill 1 (4 GPUs), decode 1-2 (32 GPUs each), 4 free",
                "domain 2: decode 3 (32 GPUs), 40 free",
            ],
        ),
        (
            "b200",
            32,
            (1, 6),
            (1, 6),
            2,
            [
                "servers 1-2: decode 1 of replicas 1-2 (6 GPUs each), 2 free in each",
                "servers 3-4: prefill 1 of replicas 1-2 (6 GPUs each), 2 free in each",
            ],
        ),
        (
            "gb200",
            144,
            (1, 4),
            (3, 16),
            2,
            [
                "domain 1: prefill 1 of replicas 1-2 (4 GPUs each), decode 1-3 of replica 1, "
                "decode 1 of replica 2 (16 GPUs each)",
                "domain 2: decode 2-3 of replica 2 (16 GPUs each), 40 free",
            ],
        ),
    ],
)
def test_text(
    sku: str,
    gpus: int,
    prefill: tuple[int, int],
    decode: tuple[int, int],
    replicas: int,
    text: list[str],
) -> None:
    assert lines(shape(prefill, decode), default_cluster(sku, gpus), replicas) == text


def test_each_machine_has_its_own_domains(space: Space) -> None:
    options = moeplan.Options(prefill_sku="b200")
    found = moeplan.best("gb200", 75.0, options, space=space)
    roles = {domain.sku: {worker.role for worker in domain.workers} for domain in found.placement}
    assert roles == {"gb200": {"decode"}, "b200": {"prefill"}}
    first, *_, last = placement_lines(found.placement)
    assert first.startswith("gb200 domain 1: decode 1")
    assert last.startswith("b200 server")


def test_nothing_is_placed_where_nothing_meets_the_limits(space: Space) -> None:
    found = moeplan.best("b200", 5000.0, space=space)
    assert found.placement == ()
    assert found.to_json()["placement"] == []


def test_command(command: Command) -> None:
    asked = ("best", "--sku", "gb200", "--target", "20", "--billing", "domain")
    printed = command(*asked).out
    assert max(map(len, printed.splitlines())) <= 100
    assert "Placement    domain 1: prefill 1 of replicas 1-6 (4 GPUs each)" in printed


def test_a_given_configuration_gets_a_cluster_with_room() -> None:
    # 132 GPUs are a rack and 60 more, too few for the second worker.
    options = moeplan.Options(max_gpus=144)
    found = moeplan.predict("gb200", shape((1, 4), (2, 64)), options)
    assert [domain.domain for domain in found.placement] == [1, 2]
    assert found.to_json()["placement"][0]["gpus"] == 72
    cluster = default_cluster("gb200", 132)
    with pytest.raises(InputError, match="2 x 64 GPUs of decode and 1 x 4 GPUs of prefill find no"):
        moeplan.predict(None, shape((1, 4), (2, 64)), moeplan.Options(cluster=cluster))


@settings(max_examples=60, deadline=None)
@given(
    sku=st.sampled_from(["gb200", "b200"]),
    decode=st.tuples(st.integers(1, 90), st.integers(1, 12)),
    prefill=st.tuples(st.integers(1, 24), st.integers(1, 12)),
)
def test_room_is_made_with_the_fewest_domains(
    sku: str, decode: tuple[int, int], prefill: tuple[int, int]
) -> None:
    smallest = default_cluster(sku, decode[0] * decode[1] + prefill[0] * prefill[1])
    cluster = roomy(smallest, decode, prefill)
    assert packs(cluster, decode, prefill)
    domain = int(cluster.hardware().gpus_per_domain.value)
    assume(cluster != smallest)
    assert cluster.gpus % domain == 0
    fewer = cluster.gpus - domain
    if fewer >= smallest.gpus:
        assert not packs(cluster.model_copy(update={"gpus": fewer}), decode, prefill)


def test_replicas_of_a_rate_stand_side_by_side_where_they_find_room() -> None:
    # A domain of 12 holds one worker of 8: 48 GPUs hold two replicas, not three.
    space = Space(prefill_workers=(1,), prefill_gpus=(8,), decode_workers=(1,), decode_gpus=(8,))
    content = {"sku": "gb200", "gpus": 48, "gpus_per_domain": 12}
    cluster = ClusterSpec.model_validate(content)
    options = moeplan.Options(cluster=cluster, objective="throughput")
    one = moeplan.best("gb200", 75.0, options, space=space)
    assert one.prediction is not None
    rate = one.prediction.total_tok_s_per_gpu * 16 / (0.9 * 2048)
    for share, copies, placed in ((1.9, 2, 2), (2.9, 3, 1)):
        options = moeplan.Options(cluster=cluster, objective="gpus", rate=share * rate)
        found = moeplan.best("gb200", 75.0, options, space=space)
        assert found.objective.replicas == copies
        replicas = {worker.replica for domain in found.placement for worker in domain.workers}
        assert replicas == set(range(1, placed + 1))
        text = " ".join(str(found._repr_html_()).split())
        assert ("they find no room, so one is placed" in text) is (placed < copies)
