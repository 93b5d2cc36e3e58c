"""How results are shown: tables as CSV, Markdown and text, figures, and the files of a run.

Nothing is computed here but what a table or figure needs.
"""
