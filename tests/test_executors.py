"""The names of executors."""

import os
from pathlib import Path

import pytest

import commandline
from am.clusters import BatchSettings, DaskExecutor
from am.config import load_settings
from am.errors import InputError
from am.executors import executor_of
from am.processes import LocalProcesses

CONF = Path(commandline.__file__).parent / "conf"


@pytest.mark.parametrize(
    "text", ["", "local", "local:0", "local:many", "dask", "dask:host:8786", "pbs", "Slurm"]
)
def test_others_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"no such executor; give local:N, .*docs/clusters.md"):
        executor_of(text)


def test_nothing_is_started_before_the_first_work(tmp_path: Path) -> None:
    assert executor_of("local:3") == LocalProcesses(3)
    for text in ("dask:tcp://nowhere:8786", f"slurm:{CONF}/slurm.yaml", f"sge:{CONF}/sge.yaml"):
        executor = executor_of(text)
        assert isinstance(executor, DaskExecutor)
        executor.close()


def test_settings_of_jobs_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"conf/slurm.yaml: no such settings file"):
        executor_of("slurm")
    path = tmp_path / "jobs.yaml"
    for text, complaint in (("jobs: 0", "jobs must be at least 1"), ("job: 1", "unknown setting")):
        path.write_text(text)
        with pytest.raises(InputError, match=complaint):
            executor_of(f"sge:{path}")
    assert load_settings(BatchSettings, CONF / "slurm.yaml").options["cores"] == 1


def test_jobs_are_short_for_local_processes(capsys: pytest.CaptureFixture[str]) -> None:
    tool = commandline.Tool("Work.", [], [], "work.py")
    tool.add_executor()
    parse = tool.parser.parse_args
    assert parse([]).executor == LocalProcesses(os.cpu_count() or 1)
    assert parse(["--jobs", "3"]).executor == LocalProcesses(3)
    assert parse(["--executor", "local:3"]).executor == LocalProcesses(3)
    for arguments, complaint in (
        (["--jobs", "0"], "must be a whole number, at least 1, not '0'"),
        (["--executor", "many"], "'many': no such executor; give local:N"),
        (["--jobs", "2", "--executor", "slurm"], "not allowed with"),
    ):
        with pytest.raises(SystemExit, match="2"):
            parse(arguments)
        assert complaint in capsys.readouterr().err
