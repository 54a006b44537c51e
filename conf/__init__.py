"""Hydra's config files; every one is complete and runnable."""

from pathlib import Path

CONF = Path(__file__).resolve().parent
