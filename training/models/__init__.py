"""The models: ours, those of `transformers`, and the user's own."""
