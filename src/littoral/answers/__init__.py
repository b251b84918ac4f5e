"""Answers of language models, told again to the same question, or to a similar one with a bound on wrong answers."""
