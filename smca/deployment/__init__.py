"""What a trained model is put to: exports, a server, batches of millions."""
