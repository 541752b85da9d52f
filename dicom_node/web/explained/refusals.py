"""The reasons for which the listener refuses what arrives, in plain words."""

from dicom_node.web.explained.explanation import group

__all__ = ["REFUSALS"]

REFUSALS = group(
    "refusal",
    "Refused on receipt",
    "The list of studies ends with the newest refusals. The sender is told, and keeps what was refused.",
    {
        "calling_ae_title": (
            "The sender's AE title is unknown here, or it may not send.",
            "Add it on the page AE titles, or allow it to send.",
        ),
        "called_ae_title": (
            "The sender called the node by another name.",
            "Correct the AE title of this node in the settings of the sender.",
        ),
        "association_limit": (
            "Too many associations were open at the same time.",
            "Senders try again; if it happens often, raise `listener.maximum_associations`.",
        ),
        "not_admitted": (
            "The node could not look up in its database who may send.",
            "Check the database; senders try again.",
        ),
        "maintenance": (
            "The node is in maintenance and accepts nothing.",
            "End the maintenance in the list of studies; senders try again.",
        ),
        "disk_full": (
            "Less disk is free than `limits.free_disk_gib` demands.",
            "Make room; senders keep the images and try again.",
        ),
        "not_stored": (
            "An object could not be written.",
            "Check the disk and the node's log; the sender keeps the object.",
        ),
        "unreadable_data_set": (
            "An object is damaged, or lacks what identifies it.",
            "Check the object at the sender.",
        ),
        "invalid_uid": (
            "A UID of the object is missing or not valid.",
            "Correct the object at the sender; without valid UIDs it cannot be filed.",
        ),
        "uid_mismatch": (
            "The object has another UID than the sender announced.",
            "Report this to the maker of the sending system.",
        ),
        "sop_class_mismatch": (
            "The object is of another kind than the sender announced.",
            "Report this to the maker of the sending system.",
        ),
        "sop_class_missing": (
            "The object does not say of what kind it is.",
            "Correct the object at the sender.",
        ),
        "data_set_too_large": (
            "The object is larger than `limits.data_set_gib`.",
            "Raise the limit if such objects are wanted.",
        ),
        "unsupported_operation": (
            "The sender asked for something that this node does not offer.",
            "Use the node for storage, verification and storage commitment only.",
        ),
        "unknown_commitment": (
            "An archive confirmed storage that this node had not asked for, or more than a week ago.",
            "Nothing needs to be done unless it repeats.",
        ),
        "bad_association_request": (
            "What called was no valid DICOM request, such as the scan of a network.",
            "If a DICOM system is meant, report this to its maker.",
        ),
        "protocol_error": (
            "The sender broke the rules of DICOM within an association, which was ended.",
            "If it repeats, report this to the maker of the sending system.",
        ),
        "too_slow": (
            "Data arrived too slowly, and the connection was ended.",
            "Check the network; the sender can try again.",
        ),
        "too_many_connections": (
            "Too many connections from one address waited without a request.",
            "Check what runs at that address, such as a load balancer's health check.",
        ),
    },
)
