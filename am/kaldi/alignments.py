"""Kaldi's alignments (``ali.*.gz``) to an alignment folder of ours, and back.

Both have a transition-id a frame.  Ours numbers two a state, and the last frame of a state has the
one that leaves it.  Kaldi numbers one for each arc, and with its default ``--reorder=true`` the
*first* frame of a state has the arc that leaves it, the self-loops follow.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from am.alignment.alignment_folder import FIELD, KIND, AlignmentFolder
from am.alignment.failures import FAILED_NAME, write_failures
from am.errors import InputError
from am.gmm.model_folder import HMM_FILES
from am.kaldi.archives import archives_of, compress, open_integer_vectors, read_integer_vectors
from am.kaldi.hmm import ImportedHmm
from am.kaldi.model_folder import KaldiFolder, read_hmm, write_hmm
from am.kaldi.phones import PHONES_NAME
from am.lang.lang import Lang
from am.progress import track
from am.storage import write_shard, write_store_description
from am.tree.context_tree import ContextTree

log = logging.getLogger(__name__)

ARCHIVE_NAME = "ali"
CUTS_PER_SHARD = 5000


@dataclass(frozen=True)
class FrameRules:
    """How Kaldi's frames lie to ours.

    Attributes:
        frame_shift: seconds.
        snip_edges: whether the aligned features were made with Kaldi's default
            ``--snip-edges=true``, which leaves out one of our frames at either end; the first and
            the last state then get a frame more.
    """

    frame_shift: float = 0.01
    snip_edges: bool = False


def import_alignments(
    lang_folder: Path, source: KaldiFolder, output: Path, rules: FrameRules
) -> None:
    """Turn a Kaldi alignment folder into an alignment folder as ``steps/align.py`` writes it.

    Utterances whose path is not whole (a decoder's that ended early) go to ``failed.tsv``.

    Args:
        lang_folder: ours, with the same phones by name.
        source: holds ``ali.*.gz``, ``tree`` and the model.
        output: folder to write.
        rules: of the frames.

    Raises:
        InputError: a file is missing or damaged, an id stands twice, or a transition-id is none
            of the model.
    """
    archives = archives_of(source.folder, ARCHIVE_NAME)
    _, hmm = read_hmm(Lang.load(lang_folder), source)
    failures: list[tuple[str, str]] = []
    seen: set[str] = set()

    def records() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for path in track(archives, "alignments", unit="archive"):
            for utterance_id, transition_ids in read_integer_vectors(path):
                where = f"{path}: {utterance_id}"
                if utterance_id in seen:
                    raise InputError(f"{where}: stands in the archives twice; remove one")
                seen.add(utterance_id)
                aligned = from_kaldi_alignment(transition_ids, hmm, where)
                if aligned is None:
                    failures.append((utterance_id, "its path begins or ends within a phone"))
                elif rules.snip_edges:
                    yield utterance_id, {FIELD: with_edge_frames(aligned)}
                else:
                    yield utterance_id, {FIELD: aligned}

    num_shards = _write_shards(output, records())
    if not num_shards:
        raise InputError(f"{archives[0]}: no whole alignment in it or the others; align again")
    write_store_description(
        output,
        {
            "kind": KIND,
            "frame_shift": rules.frame_shift,
            "fields": [FIELD],
            "num_shards": num_shards,
        },
    )
    hmm.tree.save(output / "tree.json")
    hmm.topology.save(output / "topology.json")
    hmm.transitions.save(output / "transitions.json")
    shutil.copyfile(lang_folder / PHONES_NAME, output / PHONES_NAME)
    write_failures(output / FAILED_NAME, failures)
    log.info("%d alignments", len(seen) - len(failures))


def from_kaldi_alignment(
    transition_ids: np.ndarray, hmm: ImportedHmm, where: str
) -> np.ndarray | None:
    """Kaldi's transition-ids (T,) of either order as ours, (T,) int32.

    None where the path begins or ends within a phone.

    Raises:
        InputError: a transition-id is none of the model.
    """
    highest = len(hmm.state_of_id) - 1
    if not len(transition_ids):
        return None
    if not 1 <= transition_ids.min() <= transition_ids.max() <= highest:
        wrong = int(transition_ids.max() if transition_ids.min() >= 1 else transition_ids.min())
        raise InputError(
            f"{where}: the transition-id {wrong} lies outside 1 … {highest} of the model; give the "
            "model that made the alignment"
        )
    states = hmm.state_of_id[transition_ids]
    loops = hmm.is_self_loop[transition_ids]
    if _loops_come_last(states, loops):
        if loops[0]:
            return None
        leaves = np.append(~loops[1:], True)
    else:
        leaves = ~loops
    aligned = (2 * states - ~leaves).astype(np.int32)
    return aligned if _is_whole(aligned, states, hmm) else None


def _is_whole(aligned: np.ndarray, states: np.ndarray, hmm: ImportedHmm) -> bool:
    """Whether each phone of our transition-ids begins with its first state and is left."""
    lengths = np.zeros(max(hmm.topology.states_of_phone) + 1, dtype=np.int64)
    lengths[list(hmm.topology.states_of_phone)] = list(hmm.topology.states_of_phone.values())
    ends = hmm.transitions.phone_ends(aligned, lengths)
    begins = np.append(True, ends[:-1])
    phones, places = hmm.transitions.phones_of(aligned), hmm.transitions.states_of(aligned)
    inside = ~begins[1:]
    stays = hmm.transitions.is_self_loop(aligned)[:-1]
    return bool(
        ends[-1]
        and not places[begins].any()
        and not (inside & (phones[1:] != phones[:-1])).any()
        and not (stays & (states[1:] != states[:-1])).any()
    )


def _loops_come_last(states: np.ndarray, loops: np.ndarray) -> bool:
    """Whether an alignment is in Kaldi's reordered form (``hmm/hmm-utils.cc``, IsReordered)."""
    changes = np.flatnonzero(states[1:] != states[:-1])
    before, after = loops[changes], loops[changes + 1]
    telling = np.flatnonzero(before | after)
    if len(telling):
        return bool(before[telling[0]])
    return not loops[0]


def with_edge_frames(transition_ids: np.ndarray) -> np.ndarray:
    """(T,) our transition-ids → (T + 2,): the first and the last state a frame longer."""
    staying = transition_ids - (transition_ids % 2 == 0)
    return np.concatenate([staying[:1], transition_ids[:-1], staying[-1:], transition_ids[-1:]])


def to_kaldi_alignment(transition_ids: np.ndarray) -> np.ndarray:
    """Our transition-ids (T,) in Kaldi's reordered form: a state is left on its first frame.

    The numbers are those of the model that :func:`am.kaldi.model_folder.write_hmm` writes.
    """
    stays = transition_ids % 2 == 1
    first = np.append(True, ~stays[:-1])
    return transition_ids + stays - ~first


def export_alignments(alignment_folder: Path, output: Path) -> None:
    """Write an alignment folder as Kaldi's: ``ali.1.gz``, ``tree``, ``final.mdl``, ``phones.txt``.

    ``final.mdl`` is the transition model alone, which is all that ``ali-to-phones``,
    ``ali-to-pdf`` and the training of networks read of it.

    Args:
        alignment_folder: of ``steps/align.py``.
        output: an existing folder.

    Raises:
        InputError: it holds something else.
    """
    alignment = AlignmentFolder.open(alignment_folder)
    archive = output / f"{ARCHIVE_NAME}.1"
    with open_integer_vectors(archive) as writer:
        for cut_id in track(sorted(alignment.store, key=str.encode), "alignments", unit="cut"):
            writer.write(cut_id, to_kaldi_alignment(alignment.transition_ids(cut_id)).tolist())
    compress(archive)
    tree = ContextTree.load(alignment_folder / HMM_FILES[0])
    write_hmm(output, tree, alignment.topology, alignment.transitions, gmms=None)
    shutil.copyfile(alignment_folder / PHONES_NAME, output / PHONES_NAME)
    (output / "num_jobs").write_text("1\n")


def _write_shards(output: Path, records: Iterable[tuple[str, dict[str, np.ndarray]]]) -> int:
    """Write a store's shards; how many there are."""
    remaining = iter(records)
    for num_shards in itertools.count():
        shard = list(itertools.islice(remaining, CUTS_PER_SHARD))
        if not shard:
            break
        write_shard(output, num_shards, shard)
    return num_shards
