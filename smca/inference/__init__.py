"""Using a trained model: loading it, and finding objects in pictures."""
