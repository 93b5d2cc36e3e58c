"""The command for photographs: `python -m utils.restore` reads an image, restores it, and writes it.

`__main__.py` is the command; preparation.py reads and checks its inputs; learning.py learns on the image itself.
"""
