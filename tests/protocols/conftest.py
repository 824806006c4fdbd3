"""The data plane that answers with an explanation made by hand, of other tests."""

from tests.ingress.conftest import explanation, plane, recorder

__all__ = ["explanation", "plane", "recorder"]
