"""How many parameters a model has."""

from presets.model import Model


def total_parameters(model: Model, *, draft: bool = False) -> int:
    """Count the weights of all matrices of a model.

    Norms, biases and scales are left out: less than one in a thousand.

    Parameters
    ----------
    model : Model
        The architecture.
    draft : bool
        Whether to count the draft layers: each a layer with experts and the projection that joins
        the hidden state to the embedding. They share the embedding and the LM head.

    Returns
    -------
    int
        [parameter]

    Examples
    --------
    >>> from presets import load_model
    >>> round(total_parameters(load_model("deepseek-r1-0528")) / 1e9)
    671
    """
    embeddings = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    dense_layer = attention_parameters(model) + 3 * model.hidden * model.dense_intermediate
    expert_layers = model.layers - model.dense_layers
    total = embeddings + model.dense_layers * dense_layer + expert_layers * _expert_layer(model)
    if draft:
        total += model.draft_layers * (_expert_layer(model) + 2 * model.hidden**2)
    return total


def attention_parameters(model: Model) -> int:
    """Count the weights of the attention projections of one layer. [parameter]."""
    attention = model.attention
    if attention.kind == "gqa":
        return 2 * model.hidden * attention.head_dim * (attention.heads + attention.kv_heads)
    query = attention.heads * (attention.qk_nope_dim + attention.qk_rope_dim)
    if attention.q_lora_rank is None:
        query_weights = model.hidden * query
    else:
        query_weights = attention.q_lora_rank * (model.hidden + query)
    latent_weights = model.hidden * (attention.kv_lora_rank + attention.qk_rope_dim)
    unfold = attention.kv_lora_rank * attention.heads * (attention.qk_nope_dim + attention.v_dim)
    output_weights = attention.heads * attention.v_dim * model.hidden
    return query_weights + latent_weights + unfold + output_weights


def _expert_layer(model: Model) -> int:
    """Count the weights of one layer with experts. [parameter]."""
    routed = model.experts * 3 * model.hidden * model.expert_intermediate
    shared = model.shared_experts * 3 * model.hidden * model.shared_intermediate
    router = model.experts * model.hidden
    return attention_parameters(model) + routed + shared + router
