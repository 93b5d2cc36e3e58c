"""How good a restoration is: metrics, solvers run on all patches of an image, the other methods to compare with.

The rows of the tables are defined here (records.py). How they are written belongs in utils.reporting.
"""
