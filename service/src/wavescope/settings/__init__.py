"""Settings and model registry: the only reader of the environment and of configuration files.

Settings come from the environment, with the prefix ``WAVESCOPE_``: ``WAVESCOPE_MAX_PIXELS=16000000``.
"""

from wavescope.settings.registry import build_model_spec, list_label_files, load_registry
from wavescope.settings.service import Settings, as_environment, load_settings

__all__ = [
    "Settings",
    "as_environment",
    "build_model_spec",
    "list_label_files",
    "load_registry",
    "load_settings",
]
