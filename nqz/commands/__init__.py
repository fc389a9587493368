"""What nqz does with files: encode, decode, multiply, inspect, verify. api and cli stand on it."""
