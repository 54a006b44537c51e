"""Exact deduplication: no example of a corpus twice, and none of an eval split in train."""
