"""Coded values of audit messages: PS3.16 CID 400, 401, 402, 404 and 405, and the value sets of PS3.15 A.5.1.2."""

import enum
from dataclasses import dataclass

__all__ = ["Action", "Coded", "EventId", "EventType", "IdType", "MediaType", "Outcome", "Role"]


@dataclass(frozen=True)
class Coded:
    """One coded value; ``meaning`` is the Code Meaning, word for word."""

    code: str
    meaning: str
    system: str = "DCM"


class EventId(enum.Enum):
    """What kind of event it is (CID 400)."""

    APPLICATION_ACTIVITY = Coded("110100", "Application Activity")
    AUDIT_LOG_USED = Coded("110101", "Audit Log Used")
    INSTANCES_ACCESSED = Coded("110103", "DICOM Instances Accessed")
    INSTANCES_TRANSFERRED = Coded("110104", "DICOM Instances Transferred")
    STUDY_DELETED = Coded("110105", "DICOM Study Deleted")
    EXPORT = Coded("110106", "Export")
    IMPORT = Coded("110107", "Import")
    QUERY = Coded("110112", "Query")
    SECURITY_ALERT = Coded("110113", "Security Alert")
    USER_AUTHENTICATION = Coded("110114", "User Authentication")


class EventType(enum.Enum):
    """More exactly what happened (CID 401)."""

    APPLICATION_START = Coded("110120", "Application Start")
    APPLICATION_STOP = Coded("110121", "Application Stop")
    LOGIN = Coded("110122", "Login")
    LOGOUT = Coded("110123", "Logout")
    NODE_AUTHENTICATION = Coded("110126", "Node Authentication")
    NETWORK_CONFIGURATION = Coded("110128", "Network Configuration")
    SECURITY_CONFIGURATION = Coded("110129", "Security Configuration")
    SOFTWARE_CONFIGURATION = Coded("110131", "Software Configuration")
    RESTRICTED_FUNCTION = Coded("110132", "Use of Restricted Function")
    RECORDING_STOPPED = Coded("110133", "Audit Recording Stopped")
    RECORDING_STARTED = Coded("110134", "Audit Recording Started")
    ROLES_CHANGED = Coded("110136", "Security Roles Changed")
    USER_CHANGED = Coded("110137", "User Security Attributes Changed")


class Role(enum.Enum):
    """What part a participant has (CID 402)."""

    APPLICATION = Coded("110150", "Application")
    LAUNCHER = Coded("110151", "Application Launcher")
    DESTINATION = Coded("110152", "Destination Role ID")
    SOURCE = Coded("110153", "Source Role ID")
    DESTINATION_MEDIA = Coded("110154", "Destination Media")
    SOURCE_MEDIA = Coded("110155", "Source Media")


class IdType(enum.Enum):
    """What identifies an object (CID 404, and the values of A.5.1.2.4 that stem from RFC 3881)."""

    STUDY = Coded("110180", "Study Instance UID")
    SOP_CLASS = Coded("110181", "SOP Class UID")
    NODE = Coded("110182", "Node ID")
    PATIENT_NUMBER = Coded("2", "Patient Number", "RFC-3881")
    SEARCH_CRITERIA = Coded("10", "Search Criteria", "RFC-3881")
    URI = Coded("12", "URI", "RFC-3881")


class MediaType(enum.Enum):
    """What data are written to or read from (CID 405)."""

    URI = Coded("110037", "URI")


class Action(enum.StrEnum):
    """EventActionCode."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(enum.StrEnum):
    """EventOutcomeIndicator."""

    SUCCESS = "0"
    MINOR = "4"  # the action can be tried again, such as a login
    SERIOUS = "8"  # the action was ended
    MAJOR = "12"  # the application is not available
