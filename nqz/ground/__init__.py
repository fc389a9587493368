"""The ground of everything: errors, types, reproducible arithmetic, digests, threads. Imports nothing of nqz."""
