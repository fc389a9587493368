"""What nqz does with files: encode, decode, multiply, inspect, verify. The Python interface and the command line stand on it."""
