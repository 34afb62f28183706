"""Decoding: pseudo log-likelihoods through a graph to words, and the scales that do it best."""
