"""The same question to a real Orthanc, by C-FIND and by QIDO-RS."""

from pathlib import Path

import pytest

from dicom_node.peers.peer import Peer
from dicom_node.peers.query import QueryFailed, instances_of_study
from tests.support.orthanc import running_orthanc
from tests.support.small_study import make_small_study

pytestmark = pytest.mark.orthanc


def test_orthanc_is_counted_by_c_find_and_by_qido_alike(tmp_path: Path) -> None:
    images = make_small_study("counted", roles=["T1CE", "FLAIR"])
    with running_orthanc(tmp_path / "orthanc", {"GLIONODE": ("127.0.0.1", 104)}) as orthanc:
        for number, ds in enumerate(images):
            path = tmp_path / f"{number}.dcm"
            ds.save_as(path, enforce_file_format=True)
            orthanc.upload(path)
        by_find = Peer(name="Orthanc", ae_title="ORTHANC", host="127.0.0.1", port=orthanc.dicom_port, is_source=True)
        by_web = Peer(name="Orthanc", ae_title="ORTHANC", dicomweb_url=orthanc.dicomweb_root, is_source=True)
        study_uid = str(images[0].StudyInstanceUID)
        held = instances_of_study(by_find, "GLIONODE", study_uid)
        assert frozenset().union(*held.values()) == {str(ds.SOPInstanceUID) for ds in images}
        assert instances_of_study(by_web, "GLIONODE", study_uid) == held
        assert instances_of_study(by_web, "GLIONODE", "1.2.3") == {}
        with pytest.raises(QueryFailed, match=r"aborted|rejected|closed|no answer"):
            instances_of_study(by_find, "STRANGER", study_uid)
