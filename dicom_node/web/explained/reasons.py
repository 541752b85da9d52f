"""The reasons for which a study has no result in plain words."""

from conversion.errors import ConversionReason
from dicom_node.web.explained.explanation import group
from inference.errors import InferenceReason
from viewer_integration.errors import ResultReason

__all__ = ["FAULTS", "REASONS"]

REASONS = group(
    "reason",
    "Reasons for no result",
    "The page of a study gives the reason as a sentence; logs and programs name it by this code.",
    {
        ConversionReason.NO_IMAGES: (
            "No usable DICOM image was found.",
            "Send the images themselves, of one study at a time.",
        ),
        ConversionReason.NO_MR: (
            "The study has no MR series that can be used.",
            "Let only brain MR studies be routed to this node.",
        ),
        ConversionReason.NO_REFERENCE: (
            "Neither T1 after contrast nor FLAIR was recognised; the node needs one of them.",
            "If the study has one, name it on the study's page under “This is something else”.",
        ),
        ConversionReason.PATIENTS_MIXED: (
            "The images of this one study name different patients.",
            "Correct the study in the PACS and send it again; the node does not guess whose images they are.",
        ),
        ConversionReason.CONTRADICTORY_ENCODING: (
            "A file states one encoding and its content looks like another; which is right cannot be told.",
            "Export the series again from the scanner or the PACS.",
        ),
        ConversionReason.UNREADABLE_PIXELS: (
            "The pixels of a needed image are damaged, cut short or of an unknown encoding.",
            "Send the series again.",
        ),
        ConversionReason.MISSING_SLICE: (
            "A needed series has a gap: at least one slice is missing.",
            "Send the series again; the node never uses an incomplete series.",
        ),
        ConversionReason.DOUBLED_SLICE: (
            "Two different images of a needed series lie at the same position.",
            "Check whether two acquisitions were merged into one series.",
        ),
        ConversionReason.MIXED_GEOMETRY: (
            "The slices of a needed series differ in size, spacing or orientation, so they form no volume.",
            "Send the acquired series, not a collection of single images.",
        ),
        ConversionReason.SHEARED_STACK: (
            "The slices of a needed series are shifted against each other, as with a tilted gantry.",
            "Send a series whose slices lie straight above each other.",
        ),
        ConversionReason.MISSING_POSITION: (
            "An image does not say where in the head it lies.",
            "Send the original images; exports and screenshots have often lost this.",
        ),
        ConversionReason.MISSING_SPACING: (
            "An image does not say how large its pixels are, so no volume can be measured.",
            "Send the original images.",
        ),
        ConversionReason.UNEVEN_SPACING: (
            "The distances between the slices of a needed series differ.",
            "Check for missing slices, and send the series again.",
        ),
        ConversionReason.MIXED_VALUES: (
            "The slices of a needed series are scaled differently, so their brightness cannot be compared.",
            "Send the original series, not one that was changed slice by slice.",
        ),
        ConversionReason.COLOUR_IMAGE: (
            "A needed series consists of colour images, which measure nothing.",
            "Send the grey images from which they were made.",
        ),
        ConversionReason.REGISTRATION_FAILED: (
            "Two sequences could not be brought into one position.",
            "Check whether both show the same head, completely and without strong artefacts.",
        ),
        InferenceReason.SEQUENCES_MISSING: (
            "The model needs a sequence that this study does not have or that had to be left out.",
            "Look at the decisions on the study's page: they say what became of each series.",
        ),
        InferenceReason.EMPTY_VOLUME: (
            "A needed series contains no signal.",
            "Send the series again; it may have been masked or emptied.",
        ),
        InferenceReason.WITHHELD: (
            "A result was computed, but a check found it too unreliable to be shown.",
            "Read the flags; the destinations get a report with the reason, without a figure or an outline.",
        ),
        InferenceReason.MODEL_MISSING: (
            "A file of the model is missing.",
            "Install the model again, then replay the study.",
        ),
        InferenceReason.MODEL_CHANGED: (
            "A file of the model differs from what was installed.",
            "Find out why with `glionode models verify`, install the model again, then replay the study.",
        ),
        InferenceReason.MODEL_UNKNOWN: (
            "This version of the node cannot use the model.",
            "Choose another model, or update the node.",
        ),
        InferenceReason.NO_CASES: (
            "A folder that should contain annotated cases contains none; it concerns training and evaluation.",
            "Check the folder and the layout that the message expects.",
        ),
        InferenceReason.UNREADABLE_CASE: (
            "Volumes cannot be used as they are: an annotated case is damaged, or a series is too small for the model.",
            "Read the message, which names what is wrong.",
        ),
        ResultReason.SOURCE_HEADERS: (
            "The headers of the images do not allow valid DICOM results to be made from them.",
            "Correct the study in the PACS and send it again.",
        ),
        ResultReason.PROOF_FAILED: (
            "The finished objects were read again and differed from what was measured, so nothing was sent.",
            "Report this as a defect of the node.",
        ),
    },
)

FAULTS = group(
    "fault",
    "Faults and outages",
    "Reasons that lie with the node, its machine or its surroundings. A study can be replayed once they are over.",
    {
        "undelivered": (
            "A destination has not accepted everything.",
            "The node goes on trying; check the destination that the reason names.",
        ),
        "cancelled": ("A person stopped the study.", "Replay it when it is wanted."),
        "defect": (
            "The node has a fault that nobody foresaw.",
            "Keep the log, report the defect, and replay the study after an update.",
        ),
        "unreadable_study": (
            "A value in the files of the study cannot be interpreted.",
            "Send the study again, or without the file in question; report it, since the node should name the cause.",
        ),
        "worker_killed": (
            "The process that worked on the study was killed again and again.",
            "Check the memory of the machine and the node's log, then replay the study.",
        ),
        "step_crashed": (
            "The process for one step ended unexpectedly, also when tried again.",
            "Check the memory of the machine and of its GPU, then replay the study.",
        ),
        "time_limit": (
            "A step took longer than is allowed and was ended.",
            "Use a faster machine or raise `limits.step_time_s`, then replay the study.",
        ),
        "out_of_memory": (
            "A step needed more memory than is allowed or there is.",
            "Give the machine more memory or raise `limits.step_memory_gib`, then replay the study.",
        ),
        "input_output": (
            "A file could not be read or written, also when tried again.",
            "Check the disk and the rights on the node's folder, then replay the study.",
        ),
        "database": (
            "The database refused to work, also when tried again.",
            "Check the database, then replay the study.",
        ),
        "database_away": (
            "The database cannot be reached.",
            "The node waits until it is back and then goes on by itself.",
        ),
        "disk_full": (
            "The disk of the node is full.",
            "Make room; the node waits, and then goes on by itself.",
        ),
    },
)
