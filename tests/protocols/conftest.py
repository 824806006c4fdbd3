"""The data plane that answers with an explanation made by hand, and the running service, of other tests."""

from tests.ingress.conftest import explanation, plane, recorder
from tests.serving.conftest import models_file, service, settings

__all__ = ["explanation", "models_file", "plane", "recorder", "service", "settings"]
