"""The white box's screen: mean squared derivative of the logit by every mask value, over rows of A."""

from __future__ import annotations

import numpy as np
import torch
from bench.screening.subject import LEVELS, Subject

from wavescope.core import wavelets
from wavescope.core.rendering.renderer import Renderer
from wavescope.engine.scoring.scorer import make_renderer
from wavescope.models.onnx.export import build


def squared_derivatives(subject: Subject, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """((rows, K) squared derivatives at each row of A, (rows,) logits there), of the default model in torch.

    dz/dm_k = <dz/dx, P_k>, and as Haar is orthogonal that is the sum over factor k of W(dz/dx) times its coefficients.
    """
    plan, preprocessing = subject.plan(rows, seed), subject.classifier.details.preprocessing
    renderer = make_renderer(plan, preprocessing, np.asarray)
    assert isinstance(renderer, Renderer)
    factors = plan.make_partition().factors.ravel()
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    torch.set_num_threads(1)  # processes run side by side
    model = build()
    squares, logits = np.empty((rows, plan.n_factors)), np.empty(rows)
    for row, mask in enumerate(plan.spec.make_design(plan.n_factors).a):
        image = torch.from_numpy(np.array(renderer.plain(mask), dtype=np.float32)).requires_grad_()
        logit = model(((image.clamp(0, 1) - mean) / std)[None])[0, subject.target]
        (gradient,) = torch.autograd.grad(logit, image)
        products = (wavelets.analyse(gradient.numpy(), "haar", LEVELS) * plan.array).sum(axis=0)
        squares[row] = np.bincount(factors, products.ravel(), plan.n_factors) ** 2
        logits[row] = float(logit.detach())
    return squares, logits
