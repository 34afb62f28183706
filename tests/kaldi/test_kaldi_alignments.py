"""Alignments: Kaldi's in either order to ours, and ours to Kaldi's."""

import gzip
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
from kaldi_cases import alignments, make_kaldi_folder, phone_of, rows_of

from am.alignment.alignment_folder import AlignmentFolder
from am.errors import InputError
from am.kaldi.alignments import (
    FrameRules,
    export_alignments,
    from_kaldi_alignment,
    import_alignments,
    to_kaldi_alignment,
    with_edge_frames,
)
from am.kaldi.archives import archives_of, read_integer_vectors
from am.kaldi.model_folder import KaldiFolder, read_hmm
from am.storage import check_store
from am.tree.statistics import phone_segments


def write_archive(path: Path, rows: dict[str, np.ndarray], *, text: bool = False) -> None:
    specifier = f"ark{',t' if text else ''}:{path.with_suffix('')}"
    with kaldi_native_io.Int32VectorWriter(specifier) as writer:
        for key, values in rows.items():
            writer.write(key, values.tolist())
    plain = path.with_suffix("")
    data = plain.read_bytes()
    plain.unlink()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def kaldi(tmp_path: Path) -> Path:
    """A Kaldi alignment folder of two archives, one of them text."""
    folder = make_kaldi_folder(tmp_path / "kaldi")
    rows = list(alignments().items())
    write_archive(folder / "ali.1.gz", dict(rows[:5]))
    write_archive(folder / "ali.2.gz", dict(rows[5:]), text=True)
    return folder


def test_frames_phones_and_boundaries_are_kaldis(lang, kaldi, out):
    import_alignments(lang.folder, KaldiFolder(kaldi), out, FrameRules())
    check_store(out)
    folder = AlignmentFolder.open(out)
    transitions = folder.transitions
    ids = {int(row[0]): [int(value) for value in row[1:]] for row in rows_of("transition_ids.txt")}
    ours = phone_of(lang)
    for utterance, kaldi_ids in alignments().items():
        found = folder.transition_ids(utterance, len(kaldi_ids))
        expected = np.array([ids[number] for number in kaldi_ids])
        np.testing.assert_array_equal(
            transitions.phones_of(found), [ours[phone] for phone in expected[:, 0]]
        )
        np.testing.assert_array_equal(transitions.states_of(found), expected[:, 1])
        np.testing.assert_array_equal(transitions.pdf_ids_of(found), expected[:, 2])
    for utterance, *fields in rows_of("segments.txt"):
        phones, lengths = np.array(fields, dtype=int).reshape(-1, 2).T
        found = folder.transition_ids(utterance)
        segments = phone_segments(found, transitions, folder.topology)
        _, first, counts = np.unique(segments, return_index=True, return_counts=True)
        np.testing.assert_array_equal(counts, lengths)
        np.testing.assert_array_equal(
            transitions.phones_of(found[first]), [ours[phone] for phone in phones]
        )
    assert (out / "failed.tsv").read_text() == ""


def test_out_and_in_again_is_the_same_alignment(lang, kaldi, out, tmp_path):
    import_alignments(lang.folder, KaldiFolder(kaldi), out, FrameRules())
    there, back = tmp_path / "there", tmp_path / "back"
    there.mkdir()
    back.mkdir()
    export_alignments(out, there)
    import_alignments(lang.folder, KaldiFolder(there), back, FrameRules())
    first, second = AlignmentFolder.open(out), AlignmentFolder.open(back)
    assert set(first.store) == set(second.store) == set(alignments())
    for utterance in first.store:
        np.testing.assert_array_equal(
            first.transition_ids(utterance), second.transition_ids(utterance)
        )


def test_reordered_alignments_stay_what_kaldi_wrote(lang, kaldi, out, tmp_path):
    """With phones numbered as Kaldi's, ours are Kaldi's transition-ids again."""
    _, hmm = read_hmm(lang, KaldiFolder(kaldi))
    for number, (utterance, kaldi_ids) in enumerate(alignments().items()):
        ours = from_kaldi_alignment(kaldi_ids, hmm, utterance)
        assert ours is not None
        again = to_kaldi_alignment(ours)
        states = hmm.state_of_id[kaldi_ids]
        reordered = 2 * states - hmm.is_self_loop[kaldi_ids]
        if number % 2 == 0:
            np.testing.assert_array_equal(again, reordered)
        else:
            np.testing.assert_array_equal((again + 1) // 2, states)


def test_snipped_edges_are_given_back(lang, kaldi, out):
    import_alignments(lang.folder, KaldiFolder(kaldi), out, FrameRules(snip_edges=True))
    folder = AlignmentFolder.open(out)
    _, hmm = read_hmm(lang, KaldiFolder(kaldi))
    for utterance, kaldi_ids in alignments().items():
        found = folder.transition_ids(utterance, len(kaldi_ids) + 2)
        states = hmm.state_of_id[kaldi_ids]
        np.testing.assert_array_equal((found + 1) // 2, np.pad(states, 1, mode="edge"))
        assert found[-1] % 2 == 0 and found[0] % 2 == 1


def test_one_frame_becomes_three():
    np.testing.assert_array_equal(with_edge_frames(np.array([4])), [3, 3, 4])
    np.testing.assert_array_equal(with_edge_frames(np.array([1, 2, 4])), [1, 1, 2, 3, 4])


def test_silence_as_kaldis_recipes_have_it_is_aligned_frame_by_frame(lang, tmp_path, out):
    folder = make_kaldi_folder(tmp_path / "kaldi", "ergodic")
    _, hmm = read_hmm(lang, KaldiFolder(folder))
    ids = np.arange(1, len(hmm.state_of_id))
    phones = hmm.transitions.phones[hmm.state_of_id[ids] - 1]
    own = ids[phones == lang.phones["SIL"]]
    path: list[int] = []
    for state, arc in ((0, -1), (1, 0), (0, -1), (1, -1), (2, -1)):
        of_state = own[hmm.transitions.states[hmm.state_of_id[own] - 1] == state]
        path += [
            of_state[~hmm.is_self_loop[of_state]][arc],
            of_state[hmm.is_self_loop[of_state]][0],
        ]
    write_archive(folder / "ali.1.gz", {"silent": np.array(path)})
    import_alignments(lang.folder, KaldiFolder(folder), out, FrameRules())
    found = AlignmentFolder.open(out)
    aligned = found.transition_ids("silent")
    assert found.transitions.states_of(aligned).tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2]
    assert phone_segments(aligned, found.transitions, found.topology).max() == 0


def test_a_path_that_ends_within_a_phone_is_left_out(lang, kaldi, out):
    rows = alignments()
    write_archive(
        kaldi / "ali.3.gz", {"early": rows["utterance1"][:4], "late": rows["utterance0"][1:]}
    )
    import_alignments(lang.folder, KaldiFolder(kaldi), out, FrameRules())
    assert len(AlignmentFolder.open(out).store) == len(rows)
    failed = (out / "failed.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in failed] == ["early", "late"]


@pytest.mark.parametrize("wrong", [0, -3, 33, 2_000_000])
def test_a_transition_id_outside_the_model_is_refused(lang, kaldi, out, wrong):
    write_archive(kaldi / "ali.3.gz", {"other": np.array([1, wrong])})
    with pytest.raises(InputError, match=rf"ali.3.gz: other: the transition-id {wrong} lies"):
        import_alignments(lang.folder, KaldiFolder(kaldi), out, FrameRules())


def test_an_id_that_stands_twice_is_refused(lang, kaldi, out):
    write_archive(kaldi / "ali.3.gz", {"utterance3": alignments()["utterance3"]})
    with pytest.raises(InputError, match=r"utterance3: stands in the archives twice"):
        import_alignments(lang.folder, KaldiFolder(kaldi), out, FrameRules())


def test_a_missing_archive_is_noticed(kaldi):
    (kaldi / "ali.1.gz").rename(kaldi / "ali.4.gz")
    with pytest.raises(InputError, match=r"ali.1 is missing"):
        archives_of(kaldi, "ali")


def test_a_folder_without_archives_is_refused(lang, tmp_path, out):
    with pytest.raises(InputError, match=r"holds no ali.1.gz"):
        import_alignments(
            lang.folder, KaldiFolder(make_kaldi_folder(tmp_path / "kaldi")), out, FrameRules()
        )


# kaldi_native_io's reader says so when it cannot open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_archives_are_refused(tmp_path):
    rows = {name: np.arange(1, 200) for name in ("one", "two")}
    path = tmp_path / "ali.1.ark"
    write_archive(path, rows)
    whole = path.read_bytes()
    assert [key for key, _ in read_integer_vectors(path)] == ["one", "two"]
    for data, problem in (
        (whole[:-100], "cut short after 'one'"),
        (b"one \0BFM " + bytes(50), "something else"),
        (b"one 1 2 x\n", "something else"),
        (whole[:30], "in its first entry"),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=problem):
            list(read_integer_vectors(path))
    packed = tmp_path / "ali.2.gz"
    packed.write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(InputError, match="damaged or cut short"):
        list(read_integer_vectors(packed))
    packed.write_bytes(whole)
    with pytest.raises(InputError, match="damaged or cut short"):
        list(read_integer_vectors(packed))
