"""What a run keeps of its phases."""

from __future__ import annotations

import pytest

from arseg.fit.plan import Phase
from arseg.fit.record import RunRecord


def test_a_result_of_other_settings_is_forgotten(tmp_path):
    """Settings change, and the phase is interrupted: what the settings before made is not taken for its result."""
    folder = tmp_path / "run"
    folder.mkdir()
    record = RunRecord(folder)
    first, second = (Phase("report", "scores", {}, {"gop": gop}, folder) for gop in (12, 6))
    with record.running(first, None) as finished:
        (folder / "report.md").write_text("of gop 12")
        finished(folder / "report.md")
    assert record.result(first, None) == folder / "report.md" and record.result(second, None) is None
    with pytest.raises(KeyboardInterrupt), record.running(second, None):
        raise KeyboardInterrupt
    assert record.result(second, None) is None and RunRecord(folder).result(second, None) is None
