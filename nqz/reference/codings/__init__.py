"""The codings of lattice points: by their entropy, and modulo a coarse lattice (docs/format.md, sections 15 and 16)."""
