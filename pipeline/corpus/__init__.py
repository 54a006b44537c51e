"""A corpus as it stands: all that a loader needs."""
