import subprocess
import sys
from pathlib import Path

import pytest

import topology
from presets import ClusterSpec, InputError, default_cluster
from presets.scale_out import MAX_GPUS
from topology.cluster import read_layout

ROOT = Path(__file__).parents[2]


def test_public_names_are_listed_in_order() -> None:
    assert all(hasattr(topology, name) for name in topology.__all__)
    public = {
        name
        for name, value in vars(topology).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("topology.")
    }
    assert topology.__all__ == sorted(public)


def test_importing_the_room_does_not_load_networkx() -> None:
    code = "import sys, topology; sys.exit('networkx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_too_large_a_cluster_is_refused() -> None:
    # The file's own schema refuses it too; the graph keeps its own limit.
    spec = default_cluster("b200", 8).model_copy(update={"gpus": MAX_GPUS + 1})
    with pytest.raises(InputError, match="at most 131072 GPUs"):
        read_layout(spec)


@pytest.mark.parametrize("nvlink", [2.0, 3.0])
def test_nics_as_quick_as_nvlink_are_refused(nvlink: float) -> None:
    message = rf"nvlink_latency: {nvlink:g}e-06 s .* below nic_latency, 2e-06 s"
    with pytest.raises(InputError, match=message):
        read_layout(ClusterSpec(sku="b200", gpus=8, nvlink_latency_us=nvlink, nic_latency_us=2.0))
