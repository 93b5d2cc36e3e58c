"""Everything around the method: training, evaluation, reporting, running, and the commands `python -m utils.NAME`.

Imports point one way: commands → reporting and training → evaluation → running.
"""
