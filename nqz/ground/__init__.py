"""The ground of everything: errors, types, arithmetic that is the same everywhere, threads. Imports nothing of nqz."""
