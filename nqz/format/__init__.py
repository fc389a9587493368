"""The bytes of a container, in the order of docs/format.md: nothing about records stands anywhere else."""
