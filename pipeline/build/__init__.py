"""From a spec to a whole corpus."""
