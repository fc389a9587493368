"""Models: several files as one collection of named parts, and what their tensors are."""
