"""Fields of a Dynamo recipe and of its engine files, spoilt."""

from __future__ import annotations

from tests.recipes.spoiling import (
    DECODE,
    GONE,
    MAIN,
    POD,
    PREFILL,
    Mutation,
    Place,
    after,
    args,
    in_engine,
    in_text,
    in_yaml,
    without,
)


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
