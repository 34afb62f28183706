"""Runs Kaldi's own code (kaldi-hmm-gmm) on the fixture's tree, topology and Gaussians.

A process of its own: kaldi-hmm-gmm and kaldifst each have a copy of OpenFst in them, and the second
one to be imported hangs.

Usage: kaldi_oracle.py MODEL              writes the transition model that Kaldi makes, as text
       kaldi_oracle.py INPUT.npz OUTPUT   scores frames: (utterances' frames, their transition-ids)
"""

import sys
from itertools import pairwise
from pathlib import Path

import kaldi_hmm_gmm as khg
import numpy as np

FIXTURES = Path(__file__).parent / "fixtures"


def transition_model() -> khg.TransitionModel:
    """Of the fixture's tree and topology, with the topology's probabilities."""
    tree = khg.ContextDependency.__new__(khg.ContextDependency)
    # Without the mark of a binary file.
    state = np.frombuffer((FIXTURES / "binary" / "tree").read_bytes()[2:], dtype=np.int8)
    tree.__setstate__((state.tolist(),))
    text = (FIXTURES / "text" / "final.mdl").read_text()
    topology = khg.HmmTopology()
    topology.read(text[text.index("<Topology>") : text.index("<Triples>")])
    return khg.TransitionModel(tree, topology)


def am_diag_gmm(numbers: dict[str, np.ndarray]) -> khg.AmDiagGmm:
    """The Gaussians given as offsets, weights, means and variances."""
    gmms = khg.AmDiagGmm()
    offsets = numbers["offsets"].tolist()
    for first, last in pairwise(offsets):
        own = slice(first, last)
        gmm = khg.DiagGmm(last - first, numbers["means"].shape[1])
        gmm.set_weights(numbers["weights"][own])
        gmm.set_invvars_and_means(1 / numbers["variances"][own], numbers["means"][own])
        gmm.compute_gconsts()
        gmms.add_pdf(gmm)
    return gmms


def main() -> None:
    model = transition_model()
    if len(sys.argv) == 2:
        Path(sys.argv[1]).write_text(str(model))
        return
    numbers = dict(np.load(sys.argv[1]))
    # The scorer only points to these.
    gmms, frames = am_diag_gmm(numbers), numbers["frames"]
    scorer = khg.DecodableAmDiagGmmScaled(gmms, model, frames, 1.0)
    scores = [
        scorer.log_likelihood(time, number)
        for time, number in enumerate(numbers["transition_ids"].tolist())
    ]
    ids = range(1, model.num_transition_ids + 1)
    facts = [
        (model.transition_id_to_phone(i), model.transition_id_to_pdf(i), model.is_self_loop(i))
        for i in ids
    ]
    np.savez(sys.argv[2], scores=np.array(scores), facts=np.array(facts, dtype=np.int64))


if __name__ == "__main__":
    main()
