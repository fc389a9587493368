"""Models: a model in several files as one collection of named parts, and the index that lists its tensors."""
