"""The papers that ostraca's own tasks are from."""

from __future__ import annotations

from .base import Paper

PHYSICS_4_1 = Paper(
    title="Physics of Language Models: Part 4.1, Architecture Design and the Magic of Canon Layers",
    arxiv="2512.17351",
)
