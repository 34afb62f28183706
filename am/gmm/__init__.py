"""GMM-HMMs: training, and :func:`load_gmm` for scoring frames with a trained one."""

from am.gmm.model_folder import LoadedGmm, load_gmm

__all__ = ["LoadedGmm", "load_gmm"]
