"""Recipes (one a row of the paper's tables), the trainer, and what surrounds a run."""
