"""The mathematics: the problem, the D-LADMM network with its activations and starts, classical LADMM, the losses."""

from models.dladmm import DLADMM
from models.ladmm import ladmm
from models.problem import Problem, State

__all__ = ["DLADMM", "Problem", "State", "ladmm"]
