"""The explanation made by hand, and the data plane that answers with it, of the ingress' tests."""

from tests.ingress.conftest import explanation, plane, recorder

__all__ = ["explanation", "plane", "recorder"]
