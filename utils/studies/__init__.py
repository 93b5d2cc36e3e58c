"""Studies: a file each, with its rows, its run, its table and its figure. `python -m utils.studies.NAME` runs one.

They run the experiment of main_lena.py with other settings, or learn by models.training.Training. Nothing else imports
them.
"""
