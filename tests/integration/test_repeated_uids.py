"""A study whose series share SOP Instance UIDs is worked on: its series are kept apart, and it is said."""

from pathlib import Path

import pydicom

from tests.support.node import running_node
from tests.support.pacs import instance_of, store
from tests.support.small_study import make_small_study, uid_of


def test_series_that_share_their_uids_give_a_result(tmp_path: Path) -> None:
    images = make_small_study("shared uids")
    half = len(images) // 2
    for first, second in zip(images[:half], images[half:], strict=True):
        second.SOPInstanceUID = first.SOPInstanceUID  # T2 as T1, FLAIR as T1CE
    with running_node(tmp_path / "node") as node:
        assert set(store([instance_of(ds) for ds in images], node.settings.node.dicom_port)) == {0x0000}
        study = node.wait_for_state(uid_of("shared uids"), {"stored", "rejected", "failed"})
        assert study.state == "stored", study.reason
        codes = {code for (code,) in node.rows("glionode.sqlite", "SELECT code FROM decision")}
        assert "uid_in_several_series" in codes
        assert "pixels_differ" not in codes
        ((path,),) = node.rows("glionode.sqlite", "SELECT path FROM result WHERE kind = 'SEG'")
        segmentation = pydicom.dcmread(node.settings.node.folder / path)
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == uid_of("shared uids", "T1CE")
