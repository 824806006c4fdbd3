"""The steps of an explanation beyond the pick-freeze sample, each named as the kind that asks for it."""
