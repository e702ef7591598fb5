"""Good recipes with one field spoilt: each is refused by the check that it breaks, field named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import yaml

from moeplan.recipes.checks import failures
from moeplan.recipes.writing import check_files
from moeplan.recipes.yaml_text import yaml_text
from tests.recipes.samples import good

pytestmark = pytest.mark.many_cases

Files = dict[str, str]
Place = tuple[str | int, ...]
DECODE, PREFILL = ("spec", "components", 2), ("spec", "components", 1)
POD = ("podTemplate", "spec")
MAIN = (*POD, "containers", 0)
GONE = object()
OWN_ONLY = ("README.md", "configuration.csv", "recipe.json")


class Mutation(NamedTuple):
    """What is spoilt, and what must be told."""

    format: str
    change: Callable[[Files], None]
    check: str
    field: str


def spoil(content: Any, place: Place, value: object) -> None:
    *steps, last = place
    for step in steps:
        content = content[step]
    if value is GONE:
        del content[last]
    elif callable(value):
        content[last] = value(content[last])
    else:
        content[last] = value


def in_yaml(name: str, place: Place, value: object) -> Callable[[Files], None]:
    """Spoil one field of a YAML file."""

    def change(files: Files) -> None:
        content = yaml.safe_load(files[name])
        spoil(content, place, value)
        files[name] = yaml_text(content)

    return change


def in_engine(role: str, place: Place, value: object) -> Callable[[Files], None]:
    """Spoil one key of an engine file inside its config map."""

    def change(files: Files) -> None:
        name, key = f"{role}-engine.yaml", f"{role}.yaml"
        config_map = yaml.safe_load(files[name])
        content = yaml.safe_load(config_map["data"][key])
        spoil(content, place, value)
        config_map["data"][key] = yaml_text(content)
        files[name] = yaml_text(config_map)

    return change


def in_text(name: str, old: str, new: str) -> Callable[[Files], None]:
    """Spoil the text of a file."""

    def change(files: Files) -> None:
        assert old in files[name], (name, old)
        files[name] = files[name].replace(old, new, 1)

    return change


def one_more(name: str, option: str) -> Callable[[Files], None]:
    """Raise the number of an option by one."""

    def change(files: Files) -> None:
        text, count = re.subn(
            rf"({option} )(\d+)", lambda found: f"{found[1]}{int(found[2]) + 1}", files[name]
        )
        assert count == 1
        files[name] = text

    return change


def without(name: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        del files[name]

    return change


def after(option: str, value: str) -> Callable[[list[str]], list[str]]:
    """Give another value to an option among words."""

    def replaced(words: list[str]) -> list[str]:
        at = words.index(option)
        return [*words[: at + 1], value, *words[at + 2 :]]

    return replaced


def args(role: Place, option: str, value: str) -> Callable[[Files], None]:
    """Give another value to an option among the arguments of a pod."""
    return in_yaml("deployment.yaml", (*role, *MAIN, "args"), after(option, value))


def graph(place: Place, value: object, check: str, field: str) -> Mutation:
    return Mutation("dynamo", in_yaml("deployment.yaml", place, value), check, field)


def engine(role: str, place: Place, value: object, check: str, field: str) -> Mutation:
    return Mutation("dynamo", in_engine(role, place, value), check, field)


GPU = (*MAIN, "resources", "limits", "nvidia.com/gpu")

DYNAMO = {
    "wrong GPU count": graph((*DECODE, *GPU), "2", "world-size", "components.2"),
    "worker's total in the field of a node": graph(
        (*DECODE, *GPU), "16", "nodes", "nvidia.com/gpu"
    ),
    "GPU count as a number": graph((*PREFILL, *GPU), 4, "schema", "nvidia.com/gpu"),
    "no GPUs": graph((*PREFILL, *MAIN, "resources"), GONE, "world-size", "components.1"),
    "one node less": graph((*DECODE, "multinode", "nodeCount"), 2, "world-size", "components.2"),
    "one node": graph((*DECODE, "multinode", "nodeCount"), 1, "schema", "multinode.nodeCount"),
    "nodes for a frontend": graph(
        ("spec", "components", 0, "multinode"), {"nodeCount": 2}, "components", "0.multinode"
    ),
    "more replicas": graph((*PREFILL, "replicas"), 9, "sums", "components.1.replicas"),
    "replicas as text": graph((*DECODE, "replicas"), "1", "schema", "components.2.replicas"),
    "unknown key": graph((*DECODE, "gpus"), 4, "schema", "components.2.gpus"),
    "services of v1alpha1": graph(("spec", "services"), {}, "schema", "spec.services"),
    "componentType of v1alpha1": graph(
        (*DECODE, "componentType"), "worker", "schema", "components.2.componentType"
    ),
    "mainContainer of v1alpha1": graph(
        (*PREFILL, *POD, "mainContainer"), {}, "schema", "podTemplate.spec.mainContainer"
    ),
    "old version of the API": graph(
        ("apiVersion",), "nvidia.com/v1alpha1", "schema", "deployment.yaml: apiVersion"
    ),
    "another kind": graph(("kind",), "Deployment", "schema", "deployment.yaml: kind"),
    "two components of one name": graph((*PREFILL, "name"), "DECODE", "components", "name"),
    "no prefill": graph((*PREFILL, "type"), "worker", "components", "components.1.type"),
    "container of another name": graph((*DECODE, *MAIN, "name"), "engine", "containers", "2"),
    "no image": graph((*DECODE, *MAIN, "image"), GONE, "schema", "containers.0.image"),
    "image without a release": graph(
        (*DECODE, *MAIN, "image"), "registry/runtime:mine", "images", "runtimeVersionOverride"
    ),
    "another image for a role": graph(
        (*DECODE, *MAIN, "image"), "nvcr.io/a/b:1.5.1", "images", "containers.main.image"
    ),
    "number in the environment": graph(
        (*DECODE, *MAIN, "env", 1, "value"), 1, "schema", "env.1.value"
    ),
    "boolean in the environment": graph(
        (*DECODE, *MAIN, "env", 1, "value"), True, "schema", "env.1.value"
    ),
    "y without quotes": Mutation(
        "dynamo", in_text("deployment.yaml", "value: INFO", "value: y"), "schema", "line"
    ),
    "role of the other workers": Mutation(
        "dynamo", args(DECODE, "--disaggregation-mode", "prefill"), "containers", "--disagg"
    ),
    "another checkpoint": Mutation(
        "dynamo", args(DECODE, "--model-path", "/models/other"), "model", "--model-path"
    ),
    "engine file of the other role": Mutation(
        "dynamo",
        args(DECODE, "--extra-engine-args", "/etc/moeplan/prefill.yaml"),
        "references",
        "--extra-engine-args",
    ),
    "unknown argument": graph(
        (*DECODE, *MAIN, "args"), lambda words: [*words, "--tp", "8"], "options", "--tp"
    ),
    "dangling claim of the pod": graph(
        (*DECODE, *POD, "resourceClaims", 0, "resourceClaimTemplateName"),
        "other-channel",
        "compute-domain",
        "resourceClaimTemplateName",
    ),
    "dangling claim of the container": graph(
        (*DECODE, *MAIN, "resources", "claims", 0, "name"), "other", "references", "claims.other"
    ),
    "no claim": graph((*DECODE, *POD, "resourceClaims"), GONE, "compute-domain", "resourceClaims"),
    "mount of no volume": graph(
        (*DECODE, *MAIN, "volumeMounts", 0, "name"), "weights", "references", "volumeMounts"
    ),
    "volume of no config map": graph(
        (*DECODE, *POD, "volumes", 1, "configMap", "name"), "other", "references", "configMap"
    ),
    "processor of another machine": graph(
        (*DECODE, *POD, "nodeSelector", "kubernetes.io/arch"), "amd64", "architecture", "arch"
    ),
    "no constraint": graph(("spec", "topologyConstraint"), GONE, "topology", "topologyConstraint"),
    "constraint without a domain": graph(
        ("spec", "topologyConstraint", "packDomain"), GONE, "topology", "packDomain"
    ),
    "constraint by another topology": graph(
        ("spec", "topologyConstraint", "clusterTopologyName"),
        "other",
        "topology",
        "clusterTopology",
    ),
    "name too long for pods": graph(
        ("metadata", "name"), "a" * 40, "names", "deployment.yaml: metadata.name"
    ),
    "namespace of its own": graph(("metadata", "namespace"), "other", "names", "namespace"),
    "another engine": graph(("spec", "backendFramework"), "vllm", "components", "backendFramework"),
    "nodes of the compute domain": Mutation(
        "dynamo",
        in_yaml("compute-domain.yaml", ("spec", "numNodes"), 8),
        "compute-domain",
        "spec.numNodes",
    ),
    "no compute domain": Mutation(
        "dynamo", without("compute-domain.yaml"), "compute-domain", "compute-domain.yaml"
    ),
    "no topology": Mutation("dynamo", without("topology.yaml"), "topology", "topology.yaml"),
    "topology by another label": Mutation(
        "dynamo",
        in_yaml("topology.yaml", ("spec", "levels", 0, "key"), "kubernetes.io/hostname"),
        "topology",
        "topology.yaml: spec.levels",
    ),
    "requests beside the limit": graph(
        (*DECODE, *MAIN, "resources", "requests"), {"nvidia.com/gpu": "1"}, "containers", "requests"
    ),
    "no frontends": graph(("spec", "components", 0, "replicas"), 0, "components", "0.replicas"),
    "job that restarts": Mutation(
        "dynamo",
        in_yaml("benchmark.yaml", ("spec", "template", "spec", "restartPolicy"), GONE),
        "schema",
        "restartPolicy",
    ),
    "namespace of the job": Mutation(
        "dynamo",
        in_yaml("benchmark.yaml", ("metadata", "namespace"), "other"),
        "names",
        "benchmark.yaml: metadata.namespace",
    ),
    "key twice": Mutation(
        "dynamo",
        in_text("deployment.yaml", "kind: Dyn", "kind: x\nkind: Dyn"),
        "schema",
        "deployment.yaml",
    ),
    "no engine file": Mutation(
        "dynamo", without("decode-engine.yaml"), "files", "decode-engine.yaml"
    ),
    "no deployment": Mutation("dynamo", without("deployment.yaml"), "files", "deployment.yaml"),
    "no YAML": Mutation(
        "dynamo", in_text("deployment.yaml", "kind:", "kind: ["), "schema", "deployment.yaml"
    ),
    "load at another concurrency": Mutation(
        "dynamo",
        in_yaml(
            "benchmark.yaml",
            ("spec", "template", "spec", "containers", 0, "args"),
            after("--concurrency", "7"),
        ),
        "load",
        "--concurrency",
    ),
    "load of another service": Mutation(
        "dynamo",
        in_text("benchmark.yaml", "http://moeplan-", "http://other-"),
        "references",
        "--url",
    ),
    "load of another model": Mutation(
        "dynamo",
        in_text("benchmark.yaml", "- deepseek-ai/DeepSeek-R1-0528", "- other/model"),
        "model",
        "--model",
    ),
    "another program of the load": Mutation(
        "dynamo", in_text("benchmark.yaml", "pip install --quiet", "rm -rf /;"), "schema", "command"
    ),
}

ENGINE = {
    "tensor parallel": engine("decode", ("tensor_parallel_size",), 8, "sums", "tensor_parallel"),
    "pipeline parallel": engine("decode", ("pipeline_parallel_size",), 2, "world-size", "2"),
    "expert parallel": engine(
        "decode", ("moe_expert_parallel_size",), 8, "experts", "moe_expert_parallel_size"
    ),
    "expert tp": engine("decode", ("moe_tensor_parallel_size",), 2, "experts", "expert_parallel"),
    "attention": engine("decode", ("enable_attention_dp",), False, "attention", "attention_dp"),
    "batch": engine("decode", ("max_batch_size",), 5, "batch", "max_batch_size"),
    "batch above tokens": engine("decode", ("max_num_tokens",), 4, "tokens", "max_num_tokens"),
    "tokens below the input": engine(
        "prefill", ("max_num_tokens",), 512, "tokens", "prefill.yaml: max_num_tokens"
    ),
    "sequence below the input": engine("prefill", ("max_seq_len",), 1000, "sequence", "prefill"),
    "sequence below the output": engine("decode", ("max_seq_len",), 2000, "sequence", "decode"),
    "drafts of one role": engine(
        "prefill", ("speculative_config", "max_draft_len"), 3, "drafts", "max_draft_len"
    ),
    "no drafts on prefill": engine("prefill", ("speculative_config",), GONE, "drafts", "prefill"),
    "old name of the depth": engine(
        "decode",
        ("speculative_config",),
        {"decoding_type": "MTP", "num_nextn_predict_layers": 1},
        "release",
        "num_nextn_predict_layers",
    ),
    "drafts of another kind": engine(
        "decode", ("speculative_config", "decoding_type"), "Eagle", "schema", "decoding_type"
    ),
    "transceiver of one role": engine(
        "decode", ("cache_transceiver_config", "backend"), "UCX", "transceiver", "backend"
    ),
    "buffer below the input": engine(
        "prefill",
        ("cache_transceiver_config", "max_tokens_in_buffer"),
        992,
        "transceiver",
        "buffer",
    ),
    "buffer in broken blocks": engine(
        "decode",
        ("cache_transceiver_config", "max_tokens_in_buffer"),
        8449,
        "transceiver",
        "buffer",
    ),
    "slots that do not divide": engine(
        "decode", ("moe_config", "load_balancer", "num_slots"), 290, "slots", "num_slots"
    ),
    "slots below the experts": engine(
        "decode", ("moe_config", "load_balancer", "num_slots"), 128, "slots", "num_slots"
    ),
    "removed back-end": engine("decode", ("moe_config", "backend"), "WIDEEP", "release", "backend"),
    "back-end of other experts": engine(
        "decode", ("moe_config", "backend"), "DEEPGEMM", "release", "backend"
    ),
    "overlap on prefill": engine(
        "prefill", ("disable_overlap_scheduler",), False, "scheduler", "disable_overlap"
    ),
    "cache of another type": engine(
        "decode", ("kv_cache_config", "dtype"), "auto", "cache", "kv_cache_config.dtype"
    ),
    "share above one": engine(
        "decode", ("kv_cache_config", "free_gpu_memory_fraction"), 1.5, "schema", "fraction"
    ),
    "boolean as text": engine("decode", ("enable_attention_dp",), "yes", "schema", "attention_dp"),
    "number as text": engine("decode", ("max_batch_size",), "30", "schema", "max_batch_size"),
    "misspelt key": engine("decode", ("max_batchsize",), 30, "schema", "max_batchsize"),
    "key of an older engine": engine("decode", ("build_config",), {}, "schema", "build_config"),
}

TRTLLM = {
    "fewer nodes": Mutation(
        "trtllm", in_text("decode.sh", "--nodes 4", "--nodes 2"), "world-size", "decode.sh"
    ),
    "fewer tasks": Mutation(
        "trtllm", in_text("decode.sh", "--ntasks 16", "--ntasks 8"), "ranks", "--ntasks"
    ),
    "file of the other role": Mutation(
        "trtllm",
        in_text("decode.sh", "--config decode.yaml", "--config prefill.yaml"),
        "ranks",
        "--config",
    ),
    "option of an older engine": Mutation(
        "trtllm",
        in_text("decode.sh", "--config", "--extra_llm_api_options"),
        "ranks",
        "--config",
    ),
    "unknown option": Mutation(
        "trtllm", in_text("decode.sh", "--host", "--hosts"), "options", "--hosts"
    ),
    "one worker less": Mutation(
        "trtllm",
        in_yaml("router.yaml", ("context_servers", "num_instances"), 1),
        "sums",
        "context_servers.num_instances",
    ),
    "open quote": Mutation(
        "trtllm", in_text("decode.sh", "--mpi", "'--mpi"), "schema", "decode.sh"
    ),
    "another program": Mutation(
        "trtllm", in_text("decode.sh", "exec srun", "exec sbatch"), "schema", "decode.sh"
    ),
}

SLURM = {
    "wrong nodes": Mutation(
        "slurm", in_yaml("recipe.yaml", ("resources", "decode_nodes"), 9), "job", "decode_nodes"
    ),
    "wrong GPUs": Mutation(
        "slurm",
        in_yaml("recipe.yaml", ("resources", "gpus_per_decode"), 8),
        "world-size",
        "gpus_per",
    ),
    "wrong server": Mutation(
        "slurm", in_yaml("recipe.yaml", ("resources", "gpus_per_node"), 8), "job", "gpus_per_node"
    ),
    "wrong machine": Mutation(
        "slurm", in_yaml("recipe.yaml", ("resources", "gpu_type"), "h100"), "job", "gpu_type"
    ),
    "wrong precision": Mutation(
        "slurm", in_yaml("recipe.yaml", ("model", "precision"), "fp8"), "job", "model.precision"
    ),
    "wrong load": Mutation(
        "slurm",
        in_yaml("recipe.yaml", ("benchmark", "concurrencies"), [1]),
        "load",
        "concurrencies",
    ),
    "no engine options": Mutation(
        "slurm",
        in_yaml("recipe.yaml", ("backend", "trtllm_config"), GONE),
        "schema",
        "backend.trtllm_config.prefill",
    ),
    "environment of numbers": Mutation(
        "slurm",
        in_yaml("recipe.yaml", ("backend", "decode_environment", "A"), 1),
        "schema",
        "decode_environment",
    ),
    "engine rule": Mutation(
        "slurm",
        in_yaml("recipe.yaml", ("backend", "trtllm_config", "decode", "max_num_tokens"), 8),
        "tokens",
        "trtllm_config.decode: max_num_tokens",
    ),
}


def option(format_name: str, old: str, new: str, check: str, field: str) -> Mutation:
    return Mutation(format_name, in_text("decode.sh", old, new), check, field)


SGLANG = {
    "gone option": option(
        "sglang", "--attn-dp-size 16", "--enable-dp-attention", "options", "--en"
    ),
    "abbreviation": option(
        "sglang", "--cuda-graph-max-bs-decode", "--cuda-graph-max-bs", "options", "max-bs"
    ),
    "size": option("sglang", "--tp-size 16", "--tp-size 8", "sums", "--tp-size"),
    "attention": option("sglang", "--attn-dp-size 16", "--attn-dp-size 8", "ranks", "--attn-dp"),
    "experts": option("sglang", "--ep-size 16", "--ep-size 8", "experts", "--ep-size"),
    "draft tokens": option(
        "sglang",
        "--speculative-num-draft-tokens 2",
        "--speculative-num-draft-tokens 4",
        "ranks",
        "draft",
    ),
    "steps": option(
        "sglang", "--speculative-num-steps 1", "--speculative-num-steps 3", "drafts", "num-steps"
    ),
    "slots": option(
        "sglang",
        "--ep-num-redundant-experts 32",
        "--ep-num-redundant-experts 33",
        "slots",
        "redundant",
    ),
    "copies without balancer": option("sglang", "--enable-eplb", "", "slots", "redundant"),
    "role": option(
        "sglang", "--disaggregation-mode decode", "--disaggregation-mode prefill", "ranks", "mode"
    ),
    "transfer": option(
        "sglang", "backend nixl", "backend mooncake", "transfer", "transfer-backend"
    ),
    "no value": option("sglang", "--tp-size 16", "--tp-size", "schema", "--tp-size"),
    "choice": option("sglang", "--kv-cache-dtype fp8_e4m3", "--kv-cache-dtype fp7", "schema", "kv"),
    "twice": option("sglang", "--port 8150", "--port 8150 --port 8003", "options", "--port"),
    "value of a flag": option(
        "sglang", "--disable-radix-cache", "--disable-radix-cache yes", "schema", "radix"
    ),
    "worker joined twice": Mutation(
        "sglang",
        in_text("router.sh", "--decode http://decode-0:8150", "--decode http://decode-1:8150"),
        "options",
        "router.sh: --decode",
    ),
}

VLLM = {
    "size of experts": option(
        "vllm", "--enable-expert-parallel", "--expert-parallel-size 16", "options", "--expert-par"
    ),
    "local size": option(
        "vllm", "--data-parallel-size-local 4", "--data-parallel-size-local 8", "nodes", "local"
    ),
    "size": option("vllm", "--data-parallel-size 16", "--data-parallel-size 32", "sums", "-size"),
    "no experts in parallel": option("vllm", "--enable-expert-parallel", "", "ranks", "--enable"),
    "exchange": option("vllm", "flashinfer_nvlink_one_sided", "pplx", "schema", "all2all"),
    "broken JSON": option("vllm", '{"method"', '{method"', "schema", "--speculative-config"),
    "unknown key in JSON": option("vllm", '{"method"', '{"x":1,"method"', "schema", "speculative"),
    "drafts": option("vllm", '_tokens":1', '_tokens":3', "drafts", "--speculative-config"),
    "tokens": option(
        "vllm", "--max-num-batched-tokens ", "--max-num-batched-tokens 8 --x ", "tokens", "batched"
    ),
    "sequence": option("vllm", "--max-model-len 2", "--max-model-len 1", "sequence", "model-len"),
    "no model": option("vllm", "serve /models/deepseek-r1-0528-fp4", "serve", "schema", "model"),
    "rank": option("vllm", '--node-rank "$NODE_RANK"', "", "ranks", "--nnodes"),
    "role of the cache": option(
        "vllm", '"kv_role":"kv_both"', '"kv_role":"kv_producer"', "transfer", "kv-transfer"
    ),
}

FRONTEND = ("spec", "components", 0, *MAIN)
LATER: dict[str, Mutation] = {
    **{
        f"{key} of {name} gone": Mutation(
            "dynamo", in_yaml(f"{name}.yaml", (key,), GONE), "schema", f"{name}.yaml: {key}"
        )
        for name in ("deployment", "benchmark", "decode-engine", "compute-domain", "topology")
        for key in ("apiVersion", "kind")
    },
    "frontend of another program": Mutation(
        "dynamo",
        in_yaml("deployment.yaml", (*FRONTEND, "command"), ["-m", "dynamo.frontend"]),
        "containers",
        "components.0.podTemplate.spec.containers.main.command",
    ),
    "port of the frontend": Mutation(
        "dynamo",
        in_yaml("deployment.yaml", (*FRONTEND, "args", 1), "9000"),
        "options",
        "components.0.podTemplate.spec.containers.main.args: --http-port",
    ),
    "argument of no option": Mutation(
        "dynamo",
        in_yaml("deployment.yaml", (*FRONTEND, "args"), ["8000", "--http-port", "8000"]),
        "options",
        "components.0.podTemplate.spec.containers.main.args",
    ),
    "claim without a name": Mutation(
        "dynamo",
        in_yaml(
            "deployment.yaml",
            (*DECODE, *POD, "volumes", 0, "persistentVolumeClaim"),
            None,
        ),
        "references",
        "components.2.podTemplate.spec.volumes.models",
    ),
    "mount of the benchmark": Mutation(
        "dynamo",
        in_yaml(
            "benchmark.yaml",
            ("spec", "template", "spec", "containers", 0, "volumeMounts", 0, "name"),
            "nothing",
        ),
        "references",
        "benchmark.yaml: spec.template.spec.containers.aiperf.volumeMounts.nothing",
    ),
    "no release of aiperf": Mutation(
        "dynamo",
        in_yaml(
            "benchmark.yaml",
            ("spec", "template", "spec", "containers", 0, "command"),
            lambda command: command[:3],
        ),
        "schema",
        "benchmark.yaml: spec.template.spec.containers.0.command",
    ),
    "no streaming": Mutation(
        "trtllm", in_text("benchmark.sh", "  --streaming \\\n", ""), "load", "--streaming"
    ),
    "other lengths": Mutation(
        "sglang",
        in_text("benchmark.sh", "ratio 0.8", "ratio 0.5"),
        "load",
        "benchmark.sh: --random-range-ratio",
    ),
    "outputs that end early": Mutation(
        "vllm",
        in_text("benchmark.sh", "ignore_eos:true", "ignore_eos:false"),
        "load",
        "benchmark.sh: --extra-inputs",
    ),
    "extra inputs without one": Mutation(
        "vllm", in_text("benchmark.sh", " ignore_eos:true", ""), "schema", "--extra-inputs"
    ),
    "other lengths of the job": Mutation(
        "slurm",
        in_yaml("recipe.yaml", ("benchmark", "random_range_ratio"), GONE),
        "load",
        "recipe.yaml: benchmark.random_range_ratio",
    ),
    "cache of one role": Mutation(
        "sglang",
        in_text("decode.sh", "--kv-cache-dtype fp8_e4m3", "--kv-cache-dtype auto"),
        "cache",
        "decode.sh: --kv-cache-dtype",
    ),
    "cache of the other role": Mutation(
        "vllm",
        in_text("prefill.sh", "--kv-cache-dtype fp8", "--kv-cache-dtype auto"),
        "cache",
        "decode.sh: --kv-cache-dtype",
    ),
    "address of the cache": Mutation(
        "vllm",
        in_text("prefill.sh", "export VLLM_NIXL_SIDE_CHANNEL_HOST", "export OTHER"),
        "ranks",
        "prefill.sh: export VLLM_NIXL_SIDE_CHANNEL_HOST",
    ),
    "every node serves": Mutation(
        "vllm", in_text("decode.sh", "--headless", "--port=1"), "options", "decode.sh: --headless"
    ),
    "another claim": Mutation(
        "dynamo",
        in_yaml(
            "deployment.yaml",
            (*DECODE, *POD, "volumes", 0, "persistentVolumeClaim", "claimName"),
            "another",
        ),
        "references",
        "components.2.podTemplate.spec.volumes.models.persistentVolumeClaim.claimName",
    ),
    "port of a probe": Mutation(
        "dynamo",
        in_yaml("deployment.yaml", (*DECODE, *MAIN, "startupProbe", "httpGet", "port"), 8080),
        "containers",
        "components.2.podTemplate.spec.containers.main.startupProbe.httpGet.port",
    ),
    "processor of the benchmark": Mutation(
        "dynamo",
        in_yaml(
            "benchmark.yaml",
            ("spec", "template", "spec", "nodeSelector", "kubernetes.io/arch"),
            "arm",
        ),
        "architecture",
        "benchmark.yaml: spec.template.spec.nodeSelector",
    ),
    "requests that ranks cannot share": Mutation(
        "sglang",
        one_more("decode.sh", "--max-running-requests"),
        "batch",
        "decode.sh: --max-running-requests",
    ),
    "port of a worker": Mutation(
        "trtllm", in_text("decode.sh", "--port 8150", "--port 8003"), "ports", "router.yaml: gen"
    ),
    "address of a worker": Mutation(
        "vllm", in_text("router.sh", "prefill-2:8100", "prefill-2:8101"), "ports", "--prefill"
    ),
    "port of the router": Mutation(
        "trtllm", in_yaml("router.yaml", ("port",), 9000), "ports", "benchmark.sh: --url"
    ),
    "port that is none": Mutation(
        "vllm", in_text("decode.sh", "--port 8150", "--port 81500"), "schema", "decode.sh: --port"
    ),
    "bootstrap port": Mutation(
        "sglang", in_text("prefill.sh", "port 8998", "port 8999"), "ports", "router.sh: --prefill"
    ),
    "back-end of the router": Mutation(
        "trtllm", in_yaml("router.yaml", ("backend",), "cpp"), "schema", "router.yaml: backend"
    ),
    "empty file": Mutation(
        "slurm", lambda files: files.update({"recipe.yaml": ""}), "schema", "recipe.yaml"
    ),
}

MUTATIONS = {
    f"{group}: {name}": mutation
    for group, mutations in (
        ("dynamo", DYNAMO),
        ("engine", ENGINE),
        ("trtllm", TRTLLM),
        ("slurm", SLURM),
        ("sglang", SGLANG),
        ("vllm", VLLM),
        ("more", LATER),
    )
    for name, mutation in mutations.items()
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_one_spoilt_field_is_told(mutation: Mutation) -> None:
    recipe, files = good(mutation.format)
    spoilt = dict(files)
    mutation.change(spoilt)
    assert spoilt != files
    found = failures(check_files(recipe, spoilt))
    told = [each for each in found if each.check == mutation.check and mutation.field in each.field]
    assert told, found
    for each in found:
        assert each.problem
        assert "\n" not in each.problem


HOLLOW = {"absent": None, "empty": "", "null": "null\n", "list": "[]\n", "map": "{}\n"}


@pytest.mark.parametrize("content", HOLLOW.values(), ids=HOLLOW.keys())
def test_no_file_may_be_hollow(format_name: str, content: str | None) -> None:
    recipe, files = good(format_name)
    for name in set(files) - set(OWN_ONLY):
        spoilt = {each: text for each, text in files.items() if each != name}
        if content is not None:
            spoilt[name] = content
        assert failures(check_files(recipe, spoilt)), name


def test_no_check_is_skipped_in_silence(format_name: str) -> None:
    """A line less can be a good recipe, but not one that a check could not read."""
    recipe, files = good(format_name)
    for name in set(files) - set(OWN_ONLY):
        lines = files[name].splitlines(keepends=True)
        for gone in range(len(lines)):
            spoilt = files | {name: "".join(lines[:gone] + lines[gone + 1 :])}
            results = check_files(recipe, spoilt)
            skipped = [each.check.name for each in results if each.status == "skipped"]
            assert failures(results) or not skipped, (name, lines[gone])
