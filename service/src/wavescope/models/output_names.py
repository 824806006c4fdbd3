"""Names of outputs, which tell features from scores where both are of the same shape."""

from __future__ import annotations

import re
from typing import Final

# As the encoders of transformers and timm name what a classifier's head is given: of the shape of scores, and none.
FEATURES: Final = re.compile(r"pooler|pooled|embed|feature|hidden_state|latent", re.IGNORECASE)
