"""A coded tensor of a container: its parameters, norms and means, and its points and columns on request."""
