"""The ground that everything stands on: errors, types, arithmetic that is the same everywhere, threads. It imports nothing of nqz."""
