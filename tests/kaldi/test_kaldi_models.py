"""Whole systems: Kaldi's files in and out, against what Kaldi's code says of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kaldi_cases import DIM, FIXTURES, KALDI_PHONES, make_kaldi_folder, phone_of, rows_of

from am.errors import InputError
from am.features.gmm_features import GmmFeatures, delta_transform, splice
from am.gmm.model import DiagonalGmms
from am.gmm.model_folder import GmmHmm, load_gmm
from am.hmm.topology import Topology
from am.kaldi.archives import write_matrix
from am.kaldi.features import read_gmm_features
from am.kaldi.gmm import read_gmms, write_gmms
from am.kaldi.model_folder import KaldiFolder, export_model, import_model, read_hmm
from am.kaldi.tokens import KaldiReader, KaldiWriter
from am.kaldi.transition_model import (
    NO_PDF,
    KaldiState,
    KaldiTopology,
    KaldiTransitionModel,
    read_transition_model,
    write_transition_model,
)

FLOATS = st.floats(np.float32(0.01), 1, width=32)


def read_both(path: Path) -> tuple[KaldiTransitionModel, DiagonalGmms]:
    reader = KaldiReader(path, "a model")
    return read_transition_model(reader), read_gmms(reader)


@st.composite
def transition_models(draw):
    """Any topology, left-to-right or not, with one pdf or two a state."""
    is_hmm = draw(st.booleans())
    entries = []
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.integers(1, 4))
        states = []
        for place in range(length):
            targets = draw(st.sets(st.integers(0, length), min_size=1))
            arcs = tuple((target, float(draw(FLOATS))) for target in sorted(targets))
            loop = place if is_hmm else place + 7
            states.append(KaldiState(place, loop, arcs))
        entries.append((*states, KaldiState(NO_PDF, NO_PDF, ())))
    entry_of_phone = {
        phone: draw(st.integers(0, len(entries) - 1))
        for phone in sorted(draw(st.sets(st.integers(1, 9), min_size=1)))
    }
    rows = [
        (phone, state, pdf_id, pdf_id + (0 if is_hmm else 1))
        for phone, entry in entry_of_phone.items()
        for state in range(len(entries[entry]) - 1)
        for pdf_id in sorted(draw(st.sets(st.integers(0, 5), min_size=1, max_size=2)))
    ]
    num_ids = sum(len(entries[entry_of_phone[row[0]]][row[1]].arcs) for row in rows)
    logs = np.log([1.0, *(draw(FLOATS) for _ in range(num_ids))]).astype(np.float32)
    topology = KaldiTopology(tuple(entries), entry_of_phone)
    return KaldiTransitionModel(topology, np.array(rows, dtype=np.int32), logs)


@pytest.mark.parametrize("binary", [True, False])
@given(model=transition_models())
@settings(max_examples=50)
def test_any_transition_model_is_read_back(tmp_path_factory, binary, model):
    path = tmp_path_factory.mktemp("model") / "model"
    writer = KaldiWriter(binary=binary)
    write_transition_model(writer, model)
    path.write_bytes(writer.to_bytes())
    found = read_transition_model(KaldiReader(path, "a model"))
    # In a text file, entries that no phone has lose nothing but their phones.
    assert found.topology == model.topology
    np.testing.assert_array_equal(found.tuples, model.tuples)
    np.testing.assert_array_equal(found.log_probabilities, model.log_probabilities)


@pytest.mark.parametrize("binary", [True, False])
def test_mixtures_are_read_back(tmp_path, binary):
    generator = np.random.default_rng(0)
    weights = np.array([0.25, 0.75, 1.0], dtype=np.float32)
    gmms = DiagonalGmms(
        np.array([0, 2, 3]),
        weights,
        generator.normal(size=(3, 4)).astype(np.float32),
        generator.uniform(0.2, 3, (3, 4)).astype(np.float32),
    )
    writer = KaldiWriter(binary=binary)
    write_gmms(writer, gmms)
    (tmp_path / "gmm").write_bytes(writer.to_bytes())
    found = read_gmms(KaldiReader(tmp_path / "gmm", "GMMs"))
    np.testing.assert_array_equal(found.offsets, gmms.offsets)
    for name in ("weights", "means", "variances"):
        np.testing.assert_allclose(getattr(found, name), getattr(gmms, name), rtol=1e-6)


def test_kaldis_binary_file_is_written_as_kaldi_did(tmp_path):
    """Byte by byte but for the last bits of the Gaussians' numbers."""
    path = FIXTURES / "binary" / "final.mdl"
    model, gmms = read_both(path)
    writer = KaldiWriter()
    write_transition_model(writer, model)
    head = len(writer.to_bytes())
    write_gmms(writer, gmms)
    written, expected = writer.to_bytes(), path.read_bytes()
    assert len(written) == len(expected)
    assert written[:head] == expected[:head]
    assert sum(a != b for a, b in zip(written, expected, strict=True)) < 0.02 * len(expected)


@pytest.mark.parametrize("form", ["text", "binary"])
def test_transition_ids_mean_what_kaldi_says(lang, tmp_path, form):
    folder = make_kaldi_folder(tmp_path / "kaldi", form)
    _, hmm = read_hmm(lang, KaldiFolder(folder))
    ours = phone_of(lang)
    for row in rows_of("transition_ids.txt"):
        number, phone, state, pdf_id, is_self_loop, is_final = (int(value) for value in row)
        place = hmm.state_of_id[number] - 1
        assert hmm.transitions.phones[place] == ours[phone]
        assert hmm.transitions.states[place] == state
        assert hmm.transitions.pdf_ids[place] == pdf_id
        assert hmm.is_self_loop[number] == bool(is_self_loop)
        last = state == hmm.topology.num_states(ours[phone]) - 1
        assert bool(is_final) == (last and not is_self_loop)
    triples = list(
        zip(hmm.transitions.phones, hmm.transitions.states, hmm.transitions.pdf_ids, strict=True)
    )
    assert triples == sorted(set(triples))


@pytest.mark.parametrize("form", ["text", "binary"])
def test_an_imported_system_scores_as_kaldi_does(lang, tmp_path, out, form):
    import_model(lang.folder, KaldiFolder(make_kaldi_folder(tmp_path / "kaldi", form)), out)
    gmm = load_gmm(out)
    for row in rows_of("log_likelihoods.txt"):
        frame = torch.tensor([[float(value) for value in row[:DIM]]])
        expected = [float(value) for value in row[DIM:]]
        found = gmm.log_likelihoods_of(frame, np.arange(gmm.num_pdfs))[0]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_self_loop_probabilities_are_kaldis(lang, tmp_path, out):
    folder = make_kaldi_folder(tmp_path / "kaldi")
    import_model(lang.folder, KaldiFolder(folder), out)
    model, _ = read_both(folder / "final.mdl")
    _, hmm = read_hmm(lang, KaldiFolder(folder))
    ids = np.arange(1, model.num_transition_ids + 1)
    transition_ids = 2 * hmm.state_of_id[ids] - hmm.is_self_loop[ids]
    np.testing.assert_allclose(
        hmm.transitions.log_probabilities()[transition_ids],
        model.log_probabilities[ids],
        atol=1e-5,
    )


@pytest.mark.parametrize("binary", [True, False])
def test_out_and_in_again_is_the_same_system(lang, tmp_path, out, binary):
    import_model(lang.folder, KaldiFolder(make_kaldi_folder(tmp_path / "kaldi")), out)
    there, back = tmp_path / "there", tmp_path / "back"
    there.mkdir()
    back.mkdir()
    export_model(out, there, binary=binary)
    import_model(lang.folder, KaldiFolder(there), back)
    first, second = GmmHmm.load(out), GmmHmm.load(back)
    assert first.topology == second.topology
    np.testing.assert_array_equal(first.transitions.phones, second.transitions.phones)
    np.testing.assert_array_equal(first.transitions.pdf_ids, second.transitions.pdf_ids)
    np.testing.assert_allclose(first.transitions.self_loop, second.transitions.self_loop, 1e-5)
    np.testing.assert_allclose(first.gmms.means, second.gmms.means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.gmms.variances, second.gmms.variances, rtol=1e-5)
    windows = np.stack(np.meshgrid(*[np.arange(6), np.arange(1, 6), np.arange(6)]), -1)
    left, centre, right = windows.reshape(-1, 3).T
    for state in range(3):
        arguments = left, centre, right, np.full(len(left), state)
        np.testing.assert_array_equal(
            first.tree.pdf_ids(*arguments), second.tree.pdf_ids(*arguments)
        )
    assert first.features.kind == second.features.kind == "deltas"
    np.testing.assert_array_equal(first.features.transform, second.features.transform)


def test_silence_as_kaldis_recipes_have_it_needs_leave(lang, tmp_path, out):
    folder = make_kaldi_folder(tmp_path / "kaldi", "ergodic")
    with pytest.raises(InputError, match=r"the HMM of SIL has arcs.*--approximate-topology"):
        import_model(lang.folder, KaldiFolder(folder), out)
    import_model(lang.folder, KaldiFolder(folder, approximate_topology=True), out)
    assert GmmHmm.load(out).topology.num_states(lang.phones["SIL"]) == 3


def test_deltas_by_default_and_by_options(tmp_path):
    features = read_gmm_features(tmp_path, 39)
    assert (features.kind, features.mfcc_dim, features.normalise_variance) == ("deltas", 13, False)
    (tmp_path / "delta_opts").write_text("--delta-order=1 --delta-window=3\n")
    (tmp_path / "cmvn_opts").write_text("--norm-vars=true")
    features = read_gmm_features(tmp_path, 26)
    assert (features.mfcc_dim, features.context, features.normalise_variance) == (13, 3, True)
    np.testing.assert_array_equal(features.transform, delta_transform(13, 1, 3))


def test_spliced_features_see_the_same_frames_as_kaldi(tmp_path):
    generator = np.random.default_rng(1)
    matrix = generator.normal(size=(4, 3 * 5)).astype(np.float32)
    write_matrix(tmp_path / "final.mat", matrix)
    (tmp_path / "splice_opts").write_text("--left-context=1 --right-context=3")
    features = read_gmm_features(tmp_path, 4)
    mfcc = generator.normal(size=(6, 3)).astype(np.float32)
    found = features.model_input(mfcc)
    for time in range(6):
        window = np.clip(np.arange(time - 1, time + 4), 0, 5)
        np.testing.assert_allclose(found[time], matrix @ mfcc[window].ravel(), atol=1e-5)


def test_spliced_features_go_out_and_in(lang, tmp_path, out):
    import_model(lang.folder, KaldiFolder(make_kaldi_folder(tmp_path / "kaldi")), out)
    transform = np.random.default_rng(2).normal(size=(DIM, 5 * 7)).astype(np.float32)
    model = GmmHmm.load(out).replace(features=GmmFeatures("splice", 7, 2, True, transform))
    model.save(out)
    there = tmp_path / "there"
    there.mkdir()
    export_model(out, there)
    found = read_gmm_features(there, DIM)
    np.testing.assert_array_equal(found.transform, transform)
    assert (found.kind, found.context, found.normalise_variance) == ("splice", 2, True)
    assert splice(np.zeros((3, 7), dtype=np.float32), 2).shape == (3, 35)


@pytest.mark.parametrize(
    ("name", "text", "dim", "problem"),
    [
        ("cmvn_opts", "--norm-means=false", 39, "mean is not normalised"),
        ("cmvn_opts", "--fake-cmvn", 39, "the option '--fake-cmvn' cannot be used"),
        ("delta_opts", "--delta-order=two", 39, "must be a whole number, not 'two'"),
        ("delta_opts", "", 40, "no MFCC with 2 orders of differences"),
        ("final.mat", "no matrix", 40, "holds no matrix"),
        ("final.mat", " [ 1 2 3\n 4 5 6 ]\n", 2, "2 x 3 does not make 2 values of 9"),
    ],
)
def test_bad_feature_options_are_refused(tmp_path, name, text, dim, problem):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=problem):
        read_gmm_features(tmp_path, dim)


def test_an_offset_in_the_matrix_is_refused_unless_it_is_zero(tmp_path):
    matrix = np.ones((2, 9 * 2 + 1), dtype=np.float32)
    write_matrix(tmp_path / "final.mat", matrix)
    with pytest.raises(InputError, match="adds an offset"):
        read_gmm_features(tmp_path, 2)
    matrix[:, -1] = 0
    write_matrix(tmp_path / "final.mat", matrix)
    assert read_gmm_features(tmp_path, 2).mfcc_dim == 2


def spoil(folder: Path, how: str) -> None:
    model = folder / "final.mdl"
    text = (FIXTURES / "text" / "final.mdl").read_text()
    phones = folder / "phones.txt"
    if how == "cut short":
        model.write_bytes(model.read_bytes()[:-100])
    elif how == "a network":
        model.write_text(text[: text.index("<DIMENSION>")] + "<Nnet3> ")
    elif how == "a transition model alone":
        model.write_text(text[: text.index("<DIMENSION>")])
    elif how == "not Kaldi":
        model.write_bytes(b"\x7fELF" + bytes(100))
    elif how == "skip arcs":
        model.write_text(text.replace("<Transition> 1 0.25", "<Transition> 3 0.25", 1))
    elif how == "shared pdf-class":
        model.write_text(text.replace("<State> 1 <PdfClass> 1", "<State> 1 <PdfClass> 0", 1))
    elif how == "negative variance":
        at = text.index("<INV_VARS>") + len("<INV_VARS>  [")
        model.write_text(text[:at] + " -1 " + text[at:].split(maxsplit=1)[1])
    elif how == "unknown phone":
        phones.write_text(phones.read_text().replace("b 5", "zh 5"))
    elif how == "fewer phones":
        phones.write_text(phones.read_text().replace("b 5\n", ""))
    elif how == "another tree":
        (folder / "tree").write_text(
            "ContextDependency 1 0 ToPdf SE -1 [ 0 ] { CE 0 CE 7 } EndContextDependency"
        )
    elif how == "adapted":
        (folder / "trans.1").touch()
    else:
        (folder / how).unlink()


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("cut short", "final.mdl: byte .*ends within"),
        ("a network", "a neural network follows"),
        ("a transition model alone", "no GMMs"),
        ("not Kaldi", "expected <TransitionModel>"),
        ("skip arcs", "is left from state 0 of 3 states"),
        ("shared pdf-class", "gives state 1 the pdf-class 0"),
        ("negative variance", "not usable"),
        ("unknown phone", "lacks phone 'zh' of the Kaldi model"),
        ("fewer phones", "no name for phone-id 5"),
        ("another tree", "gives pdf-ids that .* has not"),
        ("adapted", "--model-name final.alimdl"),
        ("final.mdl", "final.mdl: no such file"),
        ("tree", "tree: no such file"),
        ("phones.txt", "phones.txt: no such file"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(lang, tmp_path, out, how, problem):
    folder = make_kaldi_folder(tmp_path / "kaldi")
    spoil(folder, how)
    with pytest.raises(InputError, match=problem) as caught:
        import_model(lang.folder, KaldiFolder(folder), out)
    assert "\n" not in str(caught.value)


def test_a_model_cut_short_anywhere_is_refused(tmp_path):
    for form in ("text", "binary"):
        whole = (FIXTURES / form / "final.mdl").read_bytes().rstrip()
        for length in range(0, len(whole), 41):
            (tmp_path / "model").write_bytes(whole[:length])
            with pytest.raises(InputError):
                read_both(tmp_path / "model")


def test_a_phone_that_kaldi_lacks_is_named(lang, tmp_path, out):
    folder = make_kaldi_folder(tmp_path / "kaldi")
    lines = [f"{name} {number}" for name, number in KALDI_PHONES.items()]
    (folder / "phones.txt").write_text("\n".join(lines).replace("b 5", "a2 5"))
    with pytest.raises(InputError, match="phone 'a2'"):
        import_model(lang.folder, KaldiFolder(folder), out)
    assert isinstance(lang.topology, Topology)
