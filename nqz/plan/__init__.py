"""What decides bytes: the scale Δ, κ and the columns to keep for a rate, an error or a number of bytes; and the limit Γ."""
