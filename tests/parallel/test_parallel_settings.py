"""The section ``parallel``: reached like every other setting, and wrong ones named."""

import pytest

from am.config import load_settings
from am.errors import InputError
from am.nnet.cross_entropy import CrossEntropySettings, StudentSettings
from am.parallel.settings import BmufSettings, ParallelSettings
from am.sequence.training import SequenceSettings

LSTM = ["lstm.num_layers=1", "lstm.cells=4", "lstm.bidirectional=false"]
OVERRIDES = ["parallel.method=gtc", "parallel.gtc.threshold=1e-3", "parallel.bmuf.gain=damped_sum"]


@pytest.mark.parametrize(
    ("settings_class", "others"),
    [(CrossEntropySettings, LSTM), (StudentSettings, LSTM), (SequenceSettings, [])],
)
def test_every_training_has_the_section(settings_class, others):
    parallel = load_settings(settings_class, None, [*others, *OVERRIDES]).parallel
    assert (parallel.method, parallel.gtc.threshold) == ("gtc", 1e-3)
    assert parallel.bmuf.gain == "damped_sum"
    assert parallel.bmuf.sync_interval == 50


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("parallel.method=easgd", "method must be one of ddp, gtc, bmuf, not 'easgd'"),
        ("parallel.bucket_megabytes=0", "bucket_megabytes must be above 0, not 0.0"),
        ("parallel.checkpoint_updates=-1", "checkpoint_updates must be at least 0, not -1"),
        ("trainer.keep_checkpoints=0", "keep_checkpoints must be at least 1, not 0"),
        ("parallel.gtc.threshold=-1", "gtc: threshold must be at least 0, not -1.0"),
        ("parallel.gtc.density=0", "gtc: density must be above 0 and below 1, not 0.0"),
        ("parallel.gtc.dense_updates=-1", "gtc: dense_updates must be at least 0, not -1"),
        ("parallel.gtc.residual_clip=0.5", "gtc: residual_clip must be 0 or at least 1, not 0.5"),
        ("parallel.bmuf.sync_interval=0", "bmuf: sync_interval must be at least 1, not 0"),
        ("parallel.bmuf.block_momentum=1", "bmuf: block_momentum must be at least 0 and below 1"),
        ("parallel.bmuf.block_learning_rate=0", "bmuf: block_learning_rate must be above 0"),
        ("parallel.bmuf.warm_up_blocks=-2", "bmuf: warm_up_blocks must be at least 0, not -2"),
        ("parallel.bmuf.optimizer_state=lost", "must be one of kept, averaged, reset, not 'lost'"),
        ("parallel.tau=1", "unknown setting 'tau'; the settings here are method"),
    ],
)
def test_wrong_settings_are_named(override, message):
    with pytest.raises(InputError, match=message) as caught:
        load_settings(SequenceSettings, None, [override])
    assert "\n" not in str(caught.value)


def test_by_default_a_block_is_the_most_that_a_failure_costs():
    bmuf = ParallelSettings("bmuf", bmuf=BmufSettings(sync_interval=7))
    assert bmuf.updates_between_checkpoints() == 7
    assert ParallelSettings("gtc").updates_between_checkpoints() == 500
    assert ParallelSettings("bmuf", checkpoint_updates=0).updates_between_checkpoints() == 0
