"""What surrounds a run: settings, files, checkpoints, resuming, provenance, devices, errors."""
