"""Hydra's config files; every one is complete and runnable."""
