"""The only reader of the environment and of configuration files.

Settings come from the environment, with the prefix ``WAVESCOPE_``: ``WAVESCOPE_MAX_PIXELS=16000000``.
"""

from wavescope.settings.registry import load_registry
from wavescope.settings.service import Settings, load_settings

__all__ = ["Settings", "load_registry", "load_settings"]
