"""Facts: machines, models, measurements and the user's cluster, each checked as it is loaded.

Nothing is read before it is asked for.
"""

from presets.catalogue import load_model, model_names
from presets.cluster import ClusterSpec, ScaleOut, default_cluster, load_cluster
from presets.errors import (
    DataFileError,
    InfeasibleError,
    InputError,
    MoeplanError,
    UnknownNameError,
    unknown_name,
)
from presets.facts import Alternative, Fact, Provenance
from presets.hardware import Hardware, hardware_names, load_hardware
from presets.measurements import (
    allreduce_rows,
    alltoall_rows,
    engine_settings_rows,
    iso_rows,
    load_columns,
    measurement_sources,
    published_rows,
    read_serving_rows,
    serving_rows,
)
from presets.model import GqaAttention, MlaAttention, Model, Precision, Precisions
from presets.parameters import attention_parameters, total_parameters
from presets.rows import (
    AllReduceRow,
    AllToAllRow,
    EngineSettingsRow,
    IsoRow,
    PublishedRow,
    ServingRow,
)

__all__ = [
    "AllReduceRow",
    "AllToAllRow",
    "Alternative",
    "ClusterSpec",
    "DataFileError",
    "EngineSettingsRow",
    "Fact",
    "GqaAttention",
    "Hardware",
    "InfeasibleError",
    "InputError",
    "IsoRow",
    "MlaAttention",
    "Model",
    "MoeplanError",
    "Precision",
    "Precisions",
    "Provenance",
    "PublishedRow",
    "ScaleOut",
    "ServingRow",
    "UnknownNameError",
    "allreduce_rows",
    "alltoall_rows",
    "attention_parameters",
    "default_cluster",
    "engine_settings_rows",
    "hardware_names",
    "iso_rows",
    "load_cluster",
    "load_columns",
    "load_hardware",
    "load_model",
    "measurement_sources",
    "model_names",
    "published_rows",
    "read_serving_rows",
    "serving_rows",
    "total_parameters",
    "unknown_name",
]
