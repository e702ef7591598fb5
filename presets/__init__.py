"""Facts: machines, models, measurements and the user's cluster, each checked as it is loaded.

Nothing is read before it is asked for, and no module imported. A package of moeplan.
"""

from typing import TYPE_CHECKING

from presets.lazy import lazy_names

if TYPE_CHECKING:
    from presets.catalogue import load_model, model_names
    from presets.cluster import ClusterSpec, ScaleOut, default_cluster, load_cluster
    from presets.errors import (
        DataFileError,
        InfeasibleError,
        InputError,
        InputWarning,
        MoeplanError,
        UnknownNameError,
        unknown_name,
    )
    from presets.facts import Alternative, Fact, Provenance
    from presets.hardware import Hardware, hardware_names, load_hardware
    from presets.measured_rows import MeasuredRows, read_measured_rows
    from presets.measurements import (
        aggregated_rows,
        allreduce_rows,
        alltoall_rows,
        engine_settings_rows,
        iso_rows,
        load_columns,
        measurement_sources,
        published_rows,
        run_settings,
        serving_rows,
    )
    from presets.model import GqaAttention, MlaAttention, Model, Precision, Precisions
    from presets.parameters import attention_parameters, total_parameters
    from presets.prices import PriceSet, load_prices, price_set_names
    from presets.rows import (
        AggregatedRow,
        AllReduceRow,
        AllToAllRow,
        EngineSettingsRow,
        IsoRow,
        PublishedRow,
        RunSettingsRow,
        ServingRow,
    )

_MODULE_OF = {
    "AggregatedRow": "presets.rows",
    "AllReduceRow": "presets.rows",
    "AllToAllRow": "presets.rows",
    "Alternative": "presets.facts",
    "ClusterSpec": "presets.cluster",
    "DataFileError": "presets.errors",
    "EngineSettingsRow": "presets.rows",
    "RunSettingsRow": "presets.rows",
    "Fact": "presets.facts",
    "GqaAttention": "presets.model",
    "Hardware": "presets.hardware",
    "InfeasibleError": "presets.errors",
    "InputError": "presets.errors",
    "InputWarning": "presets.errors",
    "IsoRow": "presets.rows",
    "MeasuredRows": "presets.measured_rows",
    "MlaAttention": "presets.model",
    "Model": "presets.model",
    "MoeplanError": "presets.errors",
    "Precision": "presets.model",
    "Precisions": "presets.model",
    "Provenance": "presets.facts",
    "PriceSet": "presets.prices",
    "PublishedRow": "presets.rows",
    "ScaleOut": "presets.cluster",
    "ServingRow": "presets.rows",
    "UnknownNameError": "presets.errors",
    "aggregated_rows": "presets.measurements",
    "allreduce_rows": "presets.measurements",
    "alltoall_rows": "presets.measurements",
    "attention_parameters": "presets.parameters",
    "default_cluster": "presets.cluster",
    "engine_settings_rows": "presets.measurements",
    "run_settings": "presets.measurements",
    "hardware_names": "presets.hardware",
    "iso_rows": "presets.measurements",
    "load_cluster": "presets.cluster",
    "load_columns": "presets.measurements",
    "load_hardware": "presets.hardware",
    "load_model": "presets.catalogue",
    "load_prices": "presets.prices",
    "measurement_sources": "presets.measurements",
    "model_names": "presets.catalogue",
    "price_set_names": "presets.prices",
    "published_rows": "presets.measurements",
    "read_measured_rows": "presets.measured_rows",
    "serving_rows": "presets.measurements",
    "total_parameters": "presets.parameters",
    "unknown_name": "presets.errors",
}

__all__ = [
    "AggregatedRow",
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
    "InputWarning",
    "IsoRow",
    "MeasuredRows",
    "MlaAttention",
    "Model",
    "MoeplanError",
    "Precision",
    "Precisions",
    "PriceSet",
    "Provenance",
    "PublishedRow",
    "RunSettingsRow",
    "ScaleOut",
    "ServingRow",
    "UnknownNameError",
    "aggregated_rows",
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
    "load_prices",
    "measurement_sources",
    "model_names",
    "price_set_names",
    "published_rows",
    "read_measured_rows",
    "run_settings",
    "serving_rows",
    "total_parameters",
    "unknown_name",
]

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
