"""Perturbed images from masks: wavelet, Fourier and pixel, one by one or a device batch at once."""
