"""Where a build keeps what it knows until the manifest stands."""

STATE = ".ostraca-build"  # spec.json, lock, a record of each finished shard, and what deduplication needs
LOCK = f"{STATE}/lock"
