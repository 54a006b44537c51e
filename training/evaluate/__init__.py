"""How well a model does a task: one file a measure."""
