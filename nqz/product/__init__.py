"""Figure 2: the estimate of AᵀB from exact products of points."""
