"""Image classifiers in a few lines of NumPy (or torch): real models, known through and through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from wavescope.engine.types import CropBox, ModelDetails, Outputs, Picture, Preprocessing


def details(
    shape: tuple[int, int, int],
    *,
    outputs: Outputs = "logits",
    batch_size: int = 8,
    classes: int = 2,
    name: str = "fake",
) -> ModelDetails:
    """Of a model of (channels, height, width) inputs, normalised with mean 0.4 and standard deviation 0.25."""
    channels, height, width = shape
    preprocessing = Preprocessing(size=(height, width), mean=(0.4,) * channels, std=(0.25,) * channels)
    labels = tuple(f"class {index}" for index in range(classes))
    return ModelDetails(name, preprocessing, outputs, labels, "cpu", "float32", "numpy", batch_size)


def picture(pixels: np.ndarray) -> Picture:
    """A picture that fills its original."""
    _, height, width = pixels.shape
    return Picture(pixels.astype(np.float32), CropBox(0.0, 0.0, float(width), float(height)), (height, width))


def random_picture(shape: tuple[int, int, int], *, seed: int) -> Picture:
    """Independent pixels, uniform on [0.1, 0.9)."""
    return picture(0.1 + 0.8 * np.random.default_rng(seed).random(shape))


class FunctionClassifier:
    """Any function from one normalised image (c, h, w) to its class outputs, image by image."""

    def __init__(self, of_image: Callable[[np.ndarray], Any], of: ModelDetails) -> None:
        self._of_image = of_image
        self._details = of
        self.batches: list[int] = []

    @property
    def details(self) -> ModelDetails:
        return self._details

    def to_device(self, array: np.ndarray) -> np.ndarray:
        return array

    def forward(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        return np.array([self._of_image(image) for image in images], dtype=np.float64)


class DifferentiableClassifier(FunctionClassifier):
    """The same with gradients: ``gradient`` maps a normalised image and weights to derivatives by normalised pixels."""

    def __init__(
        self,
        of_image: Callable[[np.ndarray], Any],
        gradient: Callable[[np.ndarray, np.ndarray], np.ndarray],
        of: ModelDetails,
    ) -> None:
        super().__init__(of_image, replace(of, no_gradients=None))
        self._gradient = gradient
        self.differentiated: list[int] = []

    def gradients(self, images: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.differentiated.append(len(images))
        std = np.array(self.details.preprocessing.std)[:, None, None]
        found = [self._gradient(image, weight) / std for image, weight in zip(images, weights, strict=True)]
        outputs = np.array([self._of_image(image) for image in images])
        return outputs.astype(np.float32), np.array(found, np.float32)


class TorchClassifier:
    """The same over torch tensors of one device; ``of_images`` takes the batch."""

    def __init__(self, of_images: Callable[[Any], Any], of: ModelDetails, device: str) -> None:
        self._of_images = of_images
        self._details = of
        self._device = device

    @property
    def details(self) -> ModelDetails:
        return self._details

    def to_device(self, array: np.ndarray) -> Any:
        import torch

        return torch.asarray(array, device=self._device)

    def forward(self, images: Any) -> Any:
        return self._of_images(images)


def linear_classifier(weights: np.ndarray, *, batch_size: int = 8) -> FunctionClassifier:
    """Class 0 has the logit Σ weights · x of the image x in [0, 1]; class 1 the opposite.

    Args:
        weights: (c, h, w).
    """
    of = details(weights.shape, batch_size=batch_size)  # type: ignore[arg-type]
    mean, std = of.preprocessing.mean[0], of.preprocessing.std[0]

    def outputs(image: np.ndarray) -> tuple[float, float]:
        value = float(np.sum(weights * (image.astype(np.float64) * std + mean)))
        return value, -value

    return FunctionClassifier(outputs, of)


class GradientClassifier:
    """A function of torch from normalised images to outputs, with its gradients by autograd.

    Args:
        of_images: of a batch (n, c, h, w) of float64.
        of: its details.
        library: of its arrays, ``numpy`` or ``torch``.
    """

    def __init__(self, of_images: Callable[[Any], Any], of: ModelDetails, library: str = "numpy") -> None:
        self._of_images = of_images
        self._details = replace(of, no_gradients=None)
        self._library = library
        self.batches: list[int] = []
        self.differentiated: list[int] = []

    @property
    def details(self) -> ModelDetails:
        return self._details

    def to_device(self, array: np.ndarray) -> Any:
        import torch

        return torch.asarray(array) if self._library == "torch" else array

    def forward(self, images: Any) -> Any:
        import torch

        self.batches.append(len(images))
        return self._given(self._of_images(torch.as_tensor(images).double()))

    def gradients(self, images: Any, weights: Any) -> tuple[Any, Any]:
        import torch

        self.differentiated.append(len(images))
        given = torch.as_tensor(images).double().requires_grad_()
        outputs = self._of_images(given)
        (found,) = torch.autograd.grad(outputs, given, torch.as_tensor(weights).double())
        std = torch.tensor(self.details.preprocessing.std)[:, None, None]
        return self._given(outputs.detach()), self._given((found / std).float())

    def _given(self, tensor: Any) -> Any:
        return tensor if self._library == "torch" else tensor.numpy()
