"""Good recipes with one field spoilt: each is refused by the check that it breaks, field named."""

from __future__ import annotations

import pytest

from moeplan.recipes.checks import failures
from moeplan.recipes.writing import check_files
from tests.recipes.samples import good
from tests.recipes.spoiling import DECODE, GONE, MAIN, POD, Mutation, in_text, in_yaml, one_more
from tests.recipes.spoilt_dynamo import DYNAMO, ENGINE

pytestmark = pytest.mark.many_cases

OWN_ONLY = ("README.md", "configuration.csv", "recipe.json")


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
