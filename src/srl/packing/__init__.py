"""Sequences that begin alike, laid out as one row of tokens so that what they share is computed once.

``tree`` says which token sees which (numpy, no torch), ``attention`` computes it inside any model of transformers that
lets its attention be replaced, on a GPU through ``flex``, and ``head`` turns the model's hidden states into
log-probabilities without holding the logits.
"""
