"""What workers of an executor do for commands: jobs of plain values, and what becomes of their results."""
