"""The only reader of the environment and of configuration files.

Settings come from the environment, with the prefix ``WAVESCOPE_``: ``WAVESCOPE_MAX_PIXELS=16000000``.
"""

from wavescope.settings.keys import access, doorkeeper, load_keys, load_quotas
from wavescope.settings.registry import load_registry, model_spec
from wavescope.settings.service import Settings, load_settings

__all__ = [
    "Settings",
    "access",
    "doorkeeper",
    "load_keys",
    "load_quotas",
    "load_registry",
    "load_settings",
    "model_spec",
]
