"""Mixed noise adds energies at the asked signal-to-noise ratio, and touches nothing else."""

import pytest
import torch

from am.errors import InputError
from am.features.noise_mixing import NoiseMixingSettings, mix_noise


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return torch.randn(6, 40, 8) + 5.0, torch.tensor([40, 33, 40, 12, 40, 25])


@pytest.mark.parametrize("babble_share", [0.0, 1.0])
@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_added_energy_has_the_asked_level(babble_share: float, snr_db: float):
    features, lengths = batch()
    settings = NoiseMixingSettings(1.0, babble_share, 3, snr_db, snr_db)
    mixed = mix_noise(features, lengths, settings)
    assert torch.all(mixed >= features)
    for clean, noisy, length in zip(features, mixed, lengths, strict=True):
        speech = clean[:length].exp().sum(1).mean()
        noise = (noisy[:length].exp() - clean[:length].exp()).sum(1).mean()
        assert 10 * torch.log10(speech / noise) == pytest.approx(snr_db, abs=0.1)


def test_the_share_of_noisy_utterances_is_the_probability():
    torch.manual_seed(5)
    features = torch.randn(2000, 3, 4)
    mixed = mix_noise(features, torch.full((2000,), 3), NoiseMixingSettings(0.3))
    assert (mixed != features).flatten(1).any(1).float().mean() == pytest.approx(0.3, abs=0.05)


def test_no_noise_leaves_the_features_alone():
    features, lengths = batch()
    assert mix_noise(features, lengths, NoiseMixingSettings()) is features


def test_one_utterance_alone_gets_steady_noise():
    features = torch.randn(1, 20, 4)
    settings = NoiseMixingSettings(1.0, babble_share=1.0)
    mixed = mix_noise(features, torch.tensor([20]), settings)
    assert torch.isfinite(mixed).all()
    assert (mixed > features).any()


def test_impossible_settings_are_refused():
    with pytest.raises(InputError, match="snr"):
        NoiseMixingSettings(0.5, lowest_snr_db=10, highest_snr_db=0)


def test_an_utterance_s_noise_does_not_depend_on_which_others_are_noisy():
    features, lengths = batch()
    results = []
    for probability in (0.4, 1.0):
        torch.manual_seed(11)
        results.append(mix_noise(features, lengths, NoiseMixingSettings(probability)))
    noisy = (results[0] != features).flatten(1).any(1)
    assert 0 < noisy.sum() < len(features)
    torch.testing.assert_close(results[0][noisy], results[1][noisy])


def test_babble_is_the_next_utterance_from_a_random_frame():
    features, lengths = batch()
    settings = NoiseMixingSettings(1.0, babble_share=1.0, talkers=1, lowest_snr_db=0.0)
    mixed = mix_noise(features, lengths, settings)
    for row, length in enumerate(lengths.tolist()):
        other = features[(row + 1) % 6, : lengths[(row + 1) % 6]]
        noise = (mixed[row, :length].exp() - features[row, :length].exp()).log()
        repeated = other.repeat(length // len(other) + 2, 1)
        fits = [
            (noise - repeated[start : start + length]).std() < 1e-2 for start in range(len(other))
        ]
        assert sum(map(bool, fits)) == 1
