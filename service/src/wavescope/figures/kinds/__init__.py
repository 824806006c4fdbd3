"""The panels of every kind of explanation, one module each."""
