"""Planted defects: a run with one must be red, or the harness is blind there."""

from bench.chaos.plants import answering, indexing, living, receiving, sending
from bench.chaos.plants.kit import NONE, PLANTS, DoesNotFit, Plant

__all__ = [
    "NONE",
    "PLANTS",
    "DoesNotFit",
    "Plant",
    "answering",
    "indexing",
    "living",
    "receiving",
    "sending",
]
