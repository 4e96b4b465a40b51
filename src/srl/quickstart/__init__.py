"""The whole method on an embedded task, with an embedded base model."""
