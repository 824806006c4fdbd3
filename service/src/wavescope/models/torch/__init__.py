"""Classifiers of torchvision and timm and whole programs in files, on torch."""
