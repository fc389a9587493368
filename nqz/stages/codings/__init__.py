"""The codings of λ mod Λc."""
