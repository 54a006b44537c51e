"""A shard: how its examples are made, held apart, packed and written."""
