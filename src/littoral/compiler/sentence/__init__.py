"""Sentence encoders in: a sentence-transformers folder of the BERT family as a graph, without its framework."""

from littoral.compiler.sentence.encoder import AXES, INPUTS, encoder_graph
from littoral.compiler.sentence.folder import SentenceFolder, read_folder

__all__ = ["AXES", "INPUTS", "SentenceFolder", "encoder_graph", "read_folder"]
