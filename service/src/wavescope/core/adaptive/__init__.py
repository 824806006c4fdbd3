"""The adaptive plan: sequential design, importance sampling of rows, and a Gaussian process over total indices."""
