"""What surrounds a run: settings, files, checkpoints, provenance, devices, processes, errors.

Nothing here knows how a network learns or how good a restoration is.
"""
