"""Matrices in parts: made, edited, read, multiplied as the one matrix that they are."""
