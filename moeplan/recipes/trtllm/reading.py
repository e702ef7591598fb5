"""Reading engine files of TensorRT-LLM."""

from __future__ import annotations

from typing import Any

from moeplan.recipes.parsed import Parsed, Setting, Worker
from moeplan.recipes.reading import model_of
from moeplan.recipes.recipe import RoleName
from moeplan.recipes.trtllm.engine_file import EngineFile
from presets.engines import load_engine


def read_engine(parsed: Parsed, role: RoleName, place: str, content: object) -> None:
    """Read the options of TensorRT-LLM and note them as those of a role."""
    if isinstance(content, dict):
        known = set(load_engine("trtllm").option_names) - set(EngineFile.model_fields)
        content = {key: value for key, value in content.items() if key not in known}
    if model_of(parsed, place, content, EngineFile) is not None:
        parsed.engines[role] = place


def engine_of(parsed: Parsed, role: RoleName) -> EngineFile | None:
    """Engine options of a role; None where they could not be read."""
    return parsed.get(parsed.engines.get(role, ""), EngineFile)


def setting(parsed: Parsed, role: RoleName, *names: str) -> Setting:
    """Read a value of an engine file; None where a part of the way is not set."""
    value: Any = engine_of(parsed, role)
    for name in names:
        value = None if value is None else getattr(value, name)
    return Setting(f"{parsed.engines[role]}: {'.'.join(names)}", value)


def note_worker(
    parsed: Parsed,
    role: RoleName,
    *,
    replicas: Setting | None,
    nodes: Setting | None,
    gpus_per_node: Setting | None,
    model: Setting | None,
) -> None:
    """Say in common words what an engine file sets, where it could be read."""
    engine = engine_of(parsed, role)
    if engine is None:
        return

    def read(*names: str) -> Setting:
        return setting(parsed, role, *names)

    world = (
        engine.tensor_parallel_size * engine.pipeline_parallel_size * engine.context_parallel_size
    )
    ep, tp = engine.moe_expert_parallel_size, engine.tensor_parallel_size
    split = read("moe_tensor_parallel_size")
    if split.value is None:  # the engine's own rule
        split = split._replace(value=tp // ep if tp % ep == 0 else None)
    drafts, graph = engine.speculative_config, engine.cuda_graph_config
    depth = read("speculative_config")._replace(value=0)
    if drafts is not None:
        key = "num_nextn_predict_layers" if drafts.max_draft_len is None else "max_draft_len"
        depth = read("speculative_config", key)
    head = read("speculative_config")._replace(value=None)
    if drafts is not None and drafts.speculative_model is not None:
        head = read("speculative_config", "speculative_model")
    slots = read("moe_config", "load_balancer", "num_slots")
    largest = max(
        [*((graph.batch_sizes or []) if graph else []), graph.max_batch_size if graph else 0]
    )
    parsed.workers[role] = Worker(
        role=role,
        replicas=replicas,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        world=read("tensor_parallel_size")._replace(value=world),
        tp=read("tensor_parallel_size"),
        ep=read("moe_expert_parallel_size"),
        moe_tp=split,
        attention_dp=read("enable_attention_dp"),
        batch=read("max_batch_size"),
        tokens=read("max_num_tokens"),
        sequence=read("max_seq_len"),
        depth=depth._replace(value=depth.value or 0),
        head=head,
        slots=slots._replace(value=slots.value or 0),
        graph=read("cuda_graph_config", "batch_sizes")._replace(value=largest) if largest else None,
        model=model,
        parts_inputs=engine.enable_chunked_prefill,
    )
