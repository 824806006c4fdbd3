"""From bytes to the model's preprocessed crop in [0, 1]."""
