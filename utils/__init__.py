"""Everything around the method: sources of patches, evaluation, reporting, running, and commands.

Imports point one way: studies → main_lena → restore, reporting → sources → evaluation → running → models, data.
"""
