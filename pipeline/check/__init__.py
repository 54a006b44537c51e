"""A corpus held to what it says of itself."""
