"""What decides bytes: Δ, κ and the columns to keep for a rate, an error or a number of bytes; and the limit Γ.

`search.plan` is the one planner: it takes what a matrix is (`Statistics`), how it is to be coded (`task.Task`) and
what it may take or must reach (`task.Target`), and gives `Parameters`. Each coding has a module that knows its own
parameters, and a line in `search.PLANNERS`; the contract is `task.Planner`.
"""
