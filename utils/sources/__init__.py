"""What a network learns from: sources of patches, drawn afresh for every epoch.

They take what they need as arguments. The loop that draws from them is models.training.Training; which training has
which source is said in main_lena.py.
"""
