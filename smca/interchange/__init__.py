"""Checkpoints of others in our models: the authors' single-scale and released multi-scale SMCA, Facebook's DETR."""
