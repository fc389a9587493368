"""The rate-distortion curve of a matrix, measured."""
