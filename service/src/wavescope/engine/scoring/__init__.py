"""Scoring: perturbed images rendered and scored in device batches, and the scores of a plan as they come in."""
