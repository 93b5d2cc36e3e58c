"""Studies: a file each, which measures tables and shows them. `python -m utils.studies.NAME` runs one."""
