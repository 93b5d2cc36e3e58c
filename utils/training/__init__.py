"""How a network learns: sources of samples, optimizer and schedule, losses of the layers, resuming.

The loop itself is `train` in main_lena.py. How good a restoration is belongs in utils.evaluation.
"""
