"""The training loop: batches in, steps out, on one process or several."""
