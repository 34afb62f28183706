"""Kaldi's files in and out: models, alignments, data folders, features, posteriors."""
