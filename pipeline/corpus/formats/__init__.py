"""Shard formats: a file each."""
