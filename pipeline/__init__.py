"""From a spec to a verified corpus of shards."""
