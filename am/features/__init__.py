"""Features: what is computed from a waveform, how it is stored, and what a network sees of it.

Importing this package registers the extractors and the storages with lhotse, so that
``cut.load_features()`` works.
"""

from am.features import computed, extractors, storage
from am.features.feature_data import open_feature_data

__all__ = ["computed", "extractors", "open_feature_data", "storage"]
