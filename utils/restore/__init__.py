"""The command for photographs: `python -m utils.restore` says what is wrong with a picture, and restores it."""
