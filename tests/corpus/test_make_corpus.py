"""The whole corpus, a minute long: the same bytes for any number of jobs, and nothing shared."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from am.corpus.build import make_corpus
from am.corpus.settings import CorpusSettings, HeldOutPart, NoiseSettings, TrainingPart
from am.errors import InputError
from am.manifests.source_folder import read_table

SMALL = CorpusSettings(
    labeled=TrainingPart(0.2, 2, 0.5, (10.0, 25.0)),
    unlabeled=TrainingPart(0.3, 2, 1.0, (0.0, 25.0), clean_copies=True),
    dev=HeldOutPart(0.2, 2),
    test=HeldOutPart(0.2, 2),
    lm_sentences=300,
    noise=NoiseSettings(rooms=2, babble_voices=2),
)
SPOKEN = ("labeled", "dev", "test_clean", "test_noisy", "test_very_noisy")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = []
    for jobs in (1, 2):
        output = tmp_path_factory.mktemp(f"jobs{jobs}")
        make_corpus(SMALL, 5, jobs, output, Path("data/local/embedded"))
        folders.append(output)
    return folders


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_bytes_for_any_number_of_jobs(corpora: list[Path]) -> None:
    assert digests(corpora[0]) == digests(corpora[1])


def test_tables_agree_and_name_the_final_place(corpora: list[Path]) -> None:
    corpus = corpora[0]
    for name in (*SPOKEN, "unlabeled", "unlabeled_clean"):
        audio = read_table(corpus / name / "wav.scp")
        assert list(audio) == sorted(audio)
        speakers = read_table(corpus / name / "utt2spk")
        assert list(speakers) == list(audio)
        for utterance_id, path in audio.items():
            assert utterance_id.startswith(speakers[utterance_id])
            relative = Path(path).relative_to("data/local/embedded")
            info = soundfile.info(corpus / relative)
            assert (info.samplerate, info.channels) == (16000, 1)
    for name in ("unlabeled", "unlabeled_clean"):
        assert not (corpus / name / "text").exists()
        transcripts = read_table(corpus / "scoring_only" / f"{name}_text")
        assert list(transcripts) == list(read_table(corpus / name / "wav.scp"))


def test_each_part_is_as_long_as_asked(corpora: list[Path]) -> None:
    for name, minutes in (("labeled", 0.2), ("unlabeled", 0.3), ("test_noisy", 0.2)):
        files = sorted((corpora[0] / "audio" / name).rglob("*.flac"))
        assert len(files) == len(read_table(corpora[0] / name / "wav.scp"))
        durations = [soundfile.info(path).duration for path in files]
        assert minutes * 60 <= sum(durations) < minutes * 60 + max(durations)


def test_nothing_is_shared_between_training_dev_and_test(corpora: list[Path]) -> None:
    corpus = corpora[0]
    texts = {name: set(read_table(corpus / name / "text").values()) for name in SPOKEN}
    training = texts["labeled"] | set((corpus / "lm_text.txt").read_text().splitlines())
    training |= set(read_table(corpus / "scoring_only" / "unlabeled_text").values())
    assert not training & texts["dev"]
    assert not training & texts["test_clean"]
    assert not texts["dev"] & texts["test_clean"]
    voices = [
        set(read_table(corpus / name / "utt2spk").values())
        for name in ("labeled", "unlabeled", "dev", "test_clean")
    ]
    assert len(set().union(*voices)) == sum(map(len, voices)) == 8
    words = {line.split()[0] for line in (corpus / "lexicon.txt").read_text().splitlines()}
    spoken = {word for group in (training, *texts.values()) for s in group for word in s.split()}
    assert spoken <= words


def read_signal(corpus: Path, name: str, utterance_id: str) -> np.ndarray:
    path = read_table(corpus / name / "wav.scp")[utterance_id]
    signal: np.ndarray = soundfile.read(corpus / Path(path).relative_to("data/local/embedded"))[0]
    return signal


def test_clean_copies_are_the_same_speech(corpora: list[Path]) -> None:
    corpus = corpora[0]
    utterances = read_table(corpus / "unlabeled" / "wav.scp")
    assert list(read_table(corpus / "unlabeled_clean" / "wav.scp")) == list(utterances)
    for utterance_id in utterances:
        noisy = read_signal(corpus, "unlabeled", utterance_id)
        clean = read_signal(corpus, "unlabeled_clean", utterance_id)
        assert len(noisy) == len(clean)
        assert np.std(clean[:1600]) / np.std(clean) < 0.1


def test_conditions_of_the_test_differ_in_noise_alone(corpora: list[Path]) -> None:
    corpus = corpora[0]
    tables = [read_table(corpus / name / "text") for name in SPOKEN[2:]]
    assert tables[0] == tables[1] == tables[2]
    for utterance_id in tables[0]:
        signals = []
        for name in SPOKEN[2:]:
            signals.append(read_signal(corpus, name, utterance_id))
            assert read_table(corpus / name / "utt2condition")[utterance_id] == name[5:]
        assert len({len(signal) for signal in signals}) == 1
        # The first 100 ms are before the speech: the noisier, the louder.
        levels = [np.std(signal[:1600]) / np.std(signal) for signal in signals]
        assert levels[0] < 0.1
        assert levels[0] < levels[2]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (CorpusSettings(dev=HeldOutPart(0.0, 2)), "dev"),
        (CorpusSettings(labeled=TrainingPart(1.0, 2, 1.5, (0.0, 1.0))), "noisy_share"),
        (CorpusSettings(labeled=TrainingPart(1.0, 2, 1.0, (5.0, 1.0))), "snr_db"),
        (CorpusSettings(noise=NoiseSettings(rooms=0)), "rooms"),
        (CorpusSettings(noise=NoiseSettings(hum=-1.0)), "weights"),
    ],
)
def test_impossible_settings_are_refused(
    settings: CorpusSettings, named: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=named):
        make_corpus(settings, 1, 1, tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())
