"""A trained model at work outside its training: served."""
