"""Cost of gradients in forwards: what budgets, estimates, quotas and replies count them as."""

from __future__ import annotations

from wavescope.core.scores import has_fixed_direction
from wavescope.engine.types import Outputs

# Time of an image's outputs with their gradient, in forwards, as the embedded model was measured (docs/models.md).
GRADIENT_FORWARDS = 3


def gradient_forwards(outputs: Outputs, score: str) -> int:
    """Forwards that the gradient of a score at one image counts as.

    A score that moves with the class's own output alone has a gradient whose direction is known beforehand: it costs 3
    forwards. For any other the outputs must be known first, which is one forward more: 4. Those first outputs are
    among the images that replicas count as scored (metric ``forwards_total``).

    Args:
        outputs: what the model returns: logits, probabilities (softmax) or sigmoid.
        score: resolved, not ``auto``.

    Returns:
        3 or 4.

    Example:
        >>> gradient_forwards("logits", "logit"), gradient_forwards("logits", "probability")
        (3, 4)
        >>> gradient_forwards("sigmoid", "probability"), gradient_forwards("sigmoid", "margin")
        (3, 4)
    """
    return GRADIENT_FORWARDS + (not has_fixed_direction(outputs, score))
