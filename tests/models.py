"""Models that tests change."""

from presets import Model
from presets.attention import Attention


def with_attention(model: Model, attention: Attention) -> Model:
    """Give all layers of a model the same attention."""
    groups = (group.model_copy(update={"attention": attention}) for group in model.groups)
    return model.model_copy(update={"groups": tuple(groups)})
