"""The type checker that the import hook of ``conftest.py`` puts around every function of core and engine."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# An int where a float is asked for is right by PEP 484.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
