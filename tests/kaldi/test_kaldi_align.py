"""A system taken from Kaldi aligns, and scores as Kaldi's own code (kaldi-hmm-gmm) scores it."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from kaldi_cases import FIXTURES
from kaldi_native_io import FloatMatrixWriter

from am.alignment.align_data import align_data
from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.viterbi import AlignmentScales
from am.features.feature_data import open_feature_data
from am.features.gmm_features import SpeakerNormalisation, speaker_of
from am.gmm.model_folder import load_gmm
from am.kaldi.alignments import FrameRules, to_kaldi_alignment
from am.kaldi.feature_archives import import_features
from am.kaldi.gmm import read_gmms, write_gmms
from am.kaldi.model_folder import KaldiFolder, import_model
from am.kaldi.tokens import KaldiReader, KaldiWriter
from am.kaldi.transition_model import read_transition_model
from am.manifests.make_cuts import make_cuts
from am.manifests.settings import DataRules

# Not importorskip: it would import it here, which hangs beside kaldifst.
if importlib.util.find_spec("kaldi_hmm_gmm") is None:
    pytest.skip("kaldi-hmm-gmm is not installed", allow_module_level=True)

TEXTS = {"one": "ab cab", "three": "ba", "two": "cab ba ab"}
RATE = 16000


def run_kaldi(*arguments: Path) -> None:
    script = Path(__file__).with_name("kaldi_oracle.py")
    subprocess.run([sys.executable, script, *arguments], check=True, timeout=60)


@pytest.fixture
def model(lang, tmp_path: Path) -> Path:
    """A GMM folder of ours, from a transition model that Kaldi's code made of the fixture's tree.

    Its phones are numbered as ours are, so that transition-ids can be compared.
    """
    kaldi, output = tmp_path / "kaldi", tmp_path / "model"
    kaldi.mkdir()
    output.mkdir()
    run_kaldi(kaldi / "final.mdl")
    reader = KaldiReader(FIXTURES / "binary" / "final.mdl", "a model")
    read_transition_model(reader)
    writer = KaldiWriter(binary=False)
    write_gmms(writer, read_gmms(reader))
    with (kaldi / "final.mdl").open("ab") as stream:
        stream.write(writer.to_bytes())
    shutil.copyfile(FIXTURES / "binary" / "tree", kaldi / "tree")
    shutil.copyfile(lang.folder / "phones.txt", kaldi / "phones.txt")
    import_model(lang.folder, KaldiFolder(kaldi), output)
    return output


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """MFCC of two values, drawn at random, for three utterances of two speakers."""
    source = tmp_path / "source"
    source.mkdir()
    generator = np.random.default_rng(5)
    tables: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
    specifier = f"ark,scp:{source}/raw.ark,{source}/feats.scp"
    with FloatMatrixWriter(specifier) as writer:
        for number, (name, text) in enumerate(TEXTS.items()):
            frames = 60 + 20 * number
            path = source / f"{name}.wav"
            soundfile.write(path, generator.normal(0, 0.1, frames * RATE // 100), RATE)
            writer.write(name, generator.normal(0, 1.5, (frames, 2)).astype(np.float32))
            for table, value in (("wav.scp", path), ("text", text), ("utt2spk", f"s{number % 2}")):
                tables[table].append(f"{name} {value}\n")
    for table, lines in tables.items():
        (source / table).write_text("".join(lines))
    cuts, features = tmp_path / "cuts", tmp_path / "mfcc"
    cuts.mkdir()
    features.mkdir()
    make_cuts(source, cuts, DataRules(), 1)
    import_features(source, cuts, features, features, "mfcc", FrameRules())
    return features


def test_an_alignment_scores_as_kaldi_scores_it(lang, model, data, tmp_path, out):
    align_data(data, lang.folder, model, out, AlignmentScales(), torch.device("cpu"))
    found = AlignmentFolder.open(out)
    assert set(found.store) == set(TEXTS)
    gmm = load_gmm(model)
    cuts = open_feature_data(data)
    normalisation = SpeakerNormalisation.from_cuts(cuts)
    inputs, transition_ids, ours = [], [], []
    for cut in cuts:
        mfcc = normalisation.apply(speaker_of(cut), cut.load_features())
        frames = gmm.model.features.model_input(mfcc)
        aligned = found.transition_ids(cut.id, len(frames))
        pdf_ids = found.transitions.pdf_ids_of(aligned)
        scores = gmm.log_likelihoods_of(torch.from_numpy(frames), np.arange(gmm.num_pdfs)).numpy()
        ours.append(scores[np.arange(len(aligned)), pdf_ids])
        inputs.append(frames)
        transition_ids.append(to_kaldi_alignment(aligned))
    gmms = gmm.model.gmms
    np.savez(
        tmp_path / "input.npz",
        frames=np.concatenate(inputs),
        transition_ids=np.concatenate(transition_ids),
        offsets=gmms.offsets,
        weights=gmms.weights,
        means=gmms.means,
        variances=gmms.variances,
    )
    run_kaldi(tmp_path / "input.npz", tmp_path / "kaldis.npz")
    kaldis = np.load(tmp_path / "kaldis.npz")
    np.testing.assert_allclose(np.concatenate(ours), kaldis["scores"], atol=1e-3)
    assert np.concatenate(ours).sum() == pytest.approx(kaldis["scores"].sum(), abs=1e-3)

    transitions = gmm.model.transitions
    ids = np.arange(1, 2 * transitions.num_transition_states + 1)
    facts = (
        transitions.phones_of(ids),
        transitions.pdf_ids_of(ids),
        transitions.is_self_loop(ids),
    )
    np.testing.assert_array_equal(np.stack(facts, axis=1), kaldis["facts"])
