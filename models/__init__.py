"""The mathematics: problem, proximal operators, D-LADMM network, its training, LADMM, safeguard.

Imports torch and nothing else; knows nothing of images, files or the command line.
"""

from models.dladmm import DLADMM
from models.layer import ladmm
from models.problem import Problem, State

__all__ = ["DLADMM", "Problem", "State", "ladmm"]
