"""Image decoding and preprocessing: from the bytes of a file to the model's crop in [0, 1]."""
