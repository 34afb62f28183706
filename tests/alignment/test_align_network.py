"""Alignment with a network against the enumeration of every path, and its folders' checks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet, MonoCut, SupervisionSegment

from am.alignment.align_network import NetworkAlignmentSettings, align_network
from am.errors import InputError
from am.executors import Executor
from am.features.extractors import LfbeSettings
from am.features.feature_data import open_feature_data, write_feature_settings
from am.features.low_frame_rate import LowFrameRateFrontEnd
from am.features.storage import Float16FileWriter
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang
from am.lang.prepare import LangSettings, prepare_lang
from am.nnet.data import open_labels
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.network import load_network, save_network
from am.outputs import sha256_of_file
from am.processes import ONE_PROCESS, LocalProcesses
from am.tree.context_tree import ContextTree, monophone_tree
from tests.stored_features import store_features

CHANNELS = 4
SETTINGS = NetworkAlignmentSettings(acoustic_scale=0.7, self_loop_scale=0.4)
TEXTS = ("A B", "B", "C A", "A OTHER")


def make_folders(root: Path) -> None:
    """lang, senones (one a phone, self-loops of different probabilities), a network, data."""
    (root / "lexicon.txt").write_text("A ah\nA ah t\nB t ih\nC s\n<UNK> SPN\n")
    (root / "lang").mkdir()
    prepare_lang(root / "lexicon.txt", LangSettings(position_dependent_phones=False), root / "lang")
    lang, generator = Lang.load(root / "lang"), np.random.default_rng(0)
    phones = sorted(lang.topology.states_of_phone)
    topology = Topology.uniform(phones, 1)
    tree = monophone_tree([[phone] for phone in phones], topology)
    transitions = TransitionModel.from_triples(tree.possible_triples(topology), 0.5)
    transitions.self_loop = generator.uniform(0.2, 0.8, transitions.num_transition_states)
    senones = root / "senones"
    senones.mkdir()
    for name, part in (("tree", tree), ("topology", topology), ("transitions", transitions)):
        part.save(senones / f"{name}.json")
    (senones / "phones.txt").write_text((root / "lang" / "phones.txt").read_text())
    torch.manual_seed(0)
    front_end = LowFrameRateFrontEnd(
        torch.zeros(CHANNELS), torch.zeros(CHANNELS), torch.ones(CHANNELS), 10.0
    )
    model = AcousticModel(
        LstmSettings(num_layers=1, cells=8, bidirectional=True), front_end.output_dim, tree.num_pdfs
    )
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4.0)  # an untrained network's outputs are all but alike
    network = root / "network"
    network.mkdir()
    priors = torch.randn(tree.num_pdfs).log_softmax(0)
    save_network(network, model, front_end, priors, sha256_of_file(senones / "tree.json"))
    make_data(root / "data", generator)


def make_data(folder: Path, generator: np.random.Generator) -> None:
    folder.mkdir()
    lengths = (22, 24, 20, 19, 4, 10)
    with (
        Float16FileWriter(folder / "features") as storage,
        CutSet.open_writer(folder / "cuts.jsonl.gz") as writer,
    ):
        for index, (length, text) in enumerate(zip(lengths, (*TEXTS, "A B", ""), strict=True)):
            name, duration = f"cut-{index}", length / 100
            cut = MonoCut(name, 0, duration, channel=0)
            cut.supervisions = [SupervisionSegment(name, name, 0, duration, text=text)]
            cut.features = store_features(
                storage, name, 3 * generator.normal(size=(length, CHANNELS))
            )
            writer.write(cut)
    write_feature_settings(folder, "lfbe", CHANNELS, LfbeSettings(num_mel_bins=CHANNELS))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("network")
    make_folders(root)
    return root


def align(folders: Path, output: Path, executor: Executor = ONE_PROCESS, **others: Path) -> None:
    named = {name: folders / name for name in ("data", "lang", "senones", "network")} | others
    output.mkdir(exist_ok=True)
    align_network(*named.values(), output, SETTINGS, torch.device("cpu"), executor)


def phone_paths(lang: Lang, text: str) -> list[tuple[tuple[int, ...], float]]:
    """Every phone sequence of a transcript, silence or none at each gap, and its log weight."""
    unknown = lang.words[lang.unknown_word]
    spoken = [lang.pronunciations[lang.words.get(word, unknown)] for word in text.split()]
    found = []
    for gaps in itertools.product([False, True], repeat=len(spoken) + 1):
        for chosen in itertools.product(*spoken):
            weight = sum(
                np.log(lang.silence_probability if gap else 1 - lang.silence_probability)
                for gap in gaps
            ) + sum(np.log(one.probability) for one in chosen)
            pieces = [(lang.optional_silence,) if gap else () for gap in gaps]
            phones = [*pieces[0]]
            for one, piece in zip(chosen, pieces[1:], strict=True):
                phones += [*one.phones, *piece]
            found.append((tuple(phones), weight))
    return found


def best_labels(lang: Lang, senones: Path, text: str, scores: np.ndarray) -> list[int]:
    """The senones of the best path by trying all."""
    tree = ContextTree.load(senones / "tree.json")
    logs = TransitionModel.load(senones / "transitions.json").self_loop
    best, labels = -np.inf, []
    for phones, weight in phone_paths(lang, text):
        # One senone a phone: no context, so the pdf-id is also the transition-state's place.
        pdf_ids = tree.pdf_ids(0, np.array(phones), 0, 0)
        for cuts in itertools.combinations(range(1, len(scores)), len(phones) - 1):
            durations = np.diff([0, *cuts, len(scores)])
            path = np.repeat(pdf_ids, durations)
            score = weight + SETTINGS.acoustic_scale * scores[np.arange(len(path)), path].sum()
            stay, leave = np.log(logs[pdf_ids]), np.log1p(-logs[pdf_ids])
            score += SETTINGS.self_loop_scale * (stay * (durations - 1) + leave).sum()
            if score > best:
                best, labels = score, path.tolist()
    return labels


@pytest.mark.parametrize("processes", [1, 2])
def test_labels_are_those_of_the_best_of_all_paths(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr("am.alignment.align_shards.CUTS_A_SHARD", 3)
    align(folders, tmp_path, LocalProcesses(processes))
    network, lang = load_network(folders / "network"), Lang.load(folders / "lang")
    labels = open_labels(tmp_path, "pdf-ids", network.num_pdfs, 0.03)
    assert labels.description["tree_sha256"] == network.tree_sha256
    cuts = {cut.id: cut for cut in open_feature_data(folders / "data")}
    for index, text in enumerate(TEXTS):
        cut = cuts[f"cut-{index}"]
        scores = (network.log_posteriors(cut.load_features()) - network.log_priors).numpy()
        found = labels[cut.id]["pdf_ids"].tolist()
        assert found == best_labels(lang, folders / "senones", text, scores)
    failed = dict(line.split("\t") for line in (tmp_path / "failed.tsv").read_text().splitlines())
    assert failed.keys() == {"cut-4", "cut-5"}
    assert failed["cut-4"].startswith("too short: 2 frames") and failed["cut-5"] == "no transcript"


def test_folders_that_do_not_fit_are_refused(folders: Path, tmp_path: Path) -> None:
    other = tmp_path / "senones"
    other.mkdir()
    for path in (folders / "senones").iterdir():
        (other / path.name).write_text(path.read_text() + "\n" * (path.name == "tree.json"))
    with pytest.raises(InputError, match="not the tree of"):
        align(folders, tmp_path / "out", senones=other)
    with pytest.raises(InputError, match=r"model.json: no such file"):
        align(folders, tmp_path / "out", network=folders / "lang")
    data = tmp_path / "data"
    data.mkdir()
    (data / "cuts.jsonl.gz").write_bytes((folders / "data" / "cuts.jsonl.gz").read_bytes())
    write_feature_settings(data, "lfbe", CHANNELS + 1, LfbeSettings(num_mel_bins=CHANNELS + 1))
    with pytest.raises(InputError, match=r"lfbe of 5 values .* takes lfbe of 4"):
        align(folders, tmp_path / "out", data=data)
