"""Small working stand-ins: real NumPy models, clocks and recorders that tests can read."""
