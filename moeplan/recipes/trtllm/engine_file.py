"""The file of TensorRT-LLM's options for one role; unknown keys are errors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, le=100_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=100_000_000)]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class EnginePart(BaseModel):
    """Base of all parts: frozen, strict, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def content(self) -> dict[str, Any]:
        """Keys that were set, in the order of the class; an explicit null stays."""
        return self.model_dump(mode="json", exclude_unset=True)


class KvCache(EnginePart):
    """The KV cache."""

    dtype: Literal["auto", "fp8", "nvfp4", "bfloat16"] = "auto"
    enable_block_reuse: bool = True
    free_gpu_memory_fraction: Share | None = None
    tokens_per_block: Count = 32
    max_tokens: Count | None = None
    host_cache_size: CountOrZero | None = None


class LoadBalancer(EnginePart):
    """Expert slots, and how fast experts move between them."""

    num_slots: Count
    layer_updates_per_iter: CountOrZero = 0
    initial_global_assignments: dict[str, list[int]] | None = None


class Moe(EnginePart):
    """The routed experts; the check of the release knows its back-ends."""

    backend: str = "AUTO"
    use_low_precision_moe_combine: bool = False
    load_balancer: LoadBalancer | None = None
    max_num_tokens: Count | None = None
    disable_finalize_fusion: bool = False


class Transceiver(EnginePart):
    """How the KV cache moves from prefill to decode."""

    backend: Literal["DEFAULT", "UCX", "NIXL", "MOONCAKE", "MPI"]
    max_tokens_in_buffer: Count
    transceiver_runtime: Literal["CPP", "PYTHON", "auto"] | None = None
    kv_transfer_timeout_ms: Count | None = None


class AttentionDp(EnginePart):
    """How ranks that take requests of their own wait for each other before they prefill."""

    enable_balance: bool = False
    batching_wait_iters: CountOrZero = 10
    timeout_iters: CountOrZero = 50


class CudaGraph(EnginePart):
    """Batches whose steps are recorded."""

    enable_padding: bool = False
    batch_sizes: Annotated[list[Count], Field(min_length=1)] | None = None
    max_batch_size: CountOrZero = 0


class Speculative(EnginePart):
    """Drafts of the model's own layers, whose depth releases name in one of two ways, or a head."""

    decoding_type: Literal["MTP", "Eagle3"]
    speculative_model: Text | None = None
    max_draft_len: CountOrZero | None = None
    num_nextn_predict_layers: CountOrZero | None = None
    use_relaxed_acceptance_for_thinking: bool = False
    relaxed_topk: Count = 1
    relaxed_delta: float = 0.0


class EngineFile(EnginePart):
    """Options of one worker."""

    tensor_parallel_size: Count
    pipeline_parallel_size: Count = 1
    context_parallel_size: Count = 1
    moe_expert_parallel_size: Count
    moe_tensor_parallel_size: Count | None = None
    enable_attention_dp: bool = False
    attention_dp_config: AttentionDp | None = None
    enable_lm_head_tp_in_adp: bool = False
    gpus_per_node: Count | None = None
    max_batch_size: Count
    max_num_tokens: Count
    max_seq_len: Count
    max_input_len: Count | None = None
    trust_remote_code: bool = False
    disable_overlap_scheduler: bool = False
    enable_chunked_prefill: bool = False
    allreduce_strategy: (
        Literal["AUTO", "NCCL", "UB", "MINLATENCY", "ONESHOT", "TWOSHOT", "LOWPRECISION"]
        | Literal["MNNVL", "NCCL_SYMMETRIC"]
        | None
    ) = None
    cuda_graph_config: CudaGraph | None = None
    kv_cache_config: KvCache
    moe_config: Moe
    cache_transceiver_config: Transceiver | None = None
    speculative_config: Speculative | None = None
    num_postprocess_workers: CountOrZero = 0
    print_iter_log: bool = False
    stream_interval: Count = 1
