"""Files of matrices: the formats and their registry, reading and writing vectors, and publishing outputs whole."""
