"""How good a restoration is: metrics, solvers run on all patches of an image, and the rows of tables."""
