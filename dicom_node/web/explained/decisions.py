"""The decisions that the node records with a study in plain words."""

from dicom_node.web.explained.explanation import group

__all__ = ["DECISIONS"]

_READ = {
    "unreadable_file": ("A file could not be read and was left out.", "Send it again if it belongs to the study."),
    "encoding_corrected": (
        "Files are encoded differently from what their headers state; they were read as they are.",
        "Nothing needs to be done; the sending system should be corrected.",
    ),
    "not_mr": ("Objects that are no MR images were kept and not used.", "Nothing needs to be done."),
    "mosaic": (
        "A series holds all slices in one image, as diffusion series of some scanners do; it was not used.",
        "Nothing needs to be done.",
    ),
    "animal": ("The images show an animal and were not used.", "Send images of people."),
    "colour_image": ("A colour image was not used, because its colours measure nothing.", "Nothing needs to be done."),
    "turned_over": (
        "The images are stored with white as the lowest value; they were inverted.",
        "Nothing needs to be done.",
    ),
    "frames": (
        "The header states several frames, but the pixels of one are there; that one was used.",
        "Check at the source whether images are missing.",
    ),
    "padding": (
        "Values outside of the image, as the header marks them, were treated as background.",
        "Nothing needs to be done.",
    ),
    "real_world_values": (
        "The header maps the values to physical units; the mapping was not applied.",
        "Nothing needs to be done: the model needs no units.",
    ),
    "split_series": (
        "One series holds several volumes, such as echoes or phases; each was judged by itself.",
        "Nothing needs to be done unless the wrong volume is used.",
    ),
    "copied_image": ("An image was there twice and was counted once.", "Nothing needs to be done."),
    "value_unreadable": (
        "A value in a header is not a number; it was ignored.",
        "The sending system should be corrected.",
    ),
    "frame_of_reference": (
        "The images do not say that they share one coordinate system; one was assumed for the series.",
        "Check that the outline lies where it should.",
    ),
    "series_apart": (
        "Each image of a series claims to be a series of its own; such series are not joined.",
        "The sending system should give all images of a series one Series Instance UID.",
    ),
    "single_slice": (
        "A series has one slice, so the distance between slices cannot be measured.",
        "Do not rely on a volume that comes from it.",
    ),
    "uneven_positions": ("The slices are uneven by up to 0.1 mm, which is accepted.", "Nothing needs to be done."),
    "header_corrected": (
        "The same image arrived again with other header values; the newest is used.",
        "Nothing needs to be done if the PACS corrected the study.",
    ),
    "pixels_differ": (
        "The same image arrived again with other pixels; the newest is used, and all are kept.",
        "Find out which is right: one UID must not stand for two images.",
    ),
    "uid_in_several_series": (
        "Several series use the same UIDs for their images; they were kept apart.",
        "The sending system should make new UIDs for copies.",
    ),
}

_SELECT = {
    "routed": (
        "A routing rule chose the model, the destinations or the priority of this study.",
        "If that is wrong, change the rule on the page Routing rules; it counts for later studies.",
    ),
    "role": (
        "This series is used as T1, T1 after contrast, T2 or FLAIR, for the reason given.",
        "If it is the wrong series, correct it under “This is something else”.",
    ),
    "not_used": ("This series is not used, for the reason given.", "Correct it if it should be."),
    "abstained": (
        "The node is less than 70 % sure what this series is, so it does not use it.",
        "Name it under “This is something else”; the page says what would help.",
    ),
    "reformat_used": (
        "A series that was computed from another is used, because no acquired one is there.",
        "Send the acquired series if there is one.",
    ),
    "pixels_not_judged": (
        "The series was recognised by its headers only, because its pixels could not be judged.",
        "Check that it was recognised correctly.",
    ),
}

_ALIGN = {
    "registered": (
        "The sequence was moved to the position of the reference; the reason gives how far and how well.",
        "Nothing needs to be done.",
    ),
    "registration_doubtful": ("The sequence was moved, but may lie wrongly.", "Compare it with the reference."),
    "registration_refused": (
        "The sequence could not be aligned well enough and was left out.",
        "Expect less certain outlines, and check the sequence for motion or missing parts.",
    ),
    "already_aligned": ("All sequences share one grid, so none was moved.", "Nothing needs to be done."),
    "alignment_doubtful": (
        "The sequences share one grid, yet their images may not lie on each other.",
        "Compare them in the viewer.",
    ),
}

_SEGMENT = {
    "missing_sequence": ("The model ran without this sequence.", "Expect less certain outlines."),
    "whole_tumour_only": (
        "Core and enhancement cannot be told apart here, so only the whole tumour is outlined.",
        "Send a T1 after contrast if there is one.",
    ),
    "outside_brain": ("What was marked outside of the brain was left out.", "Look there if you expect tumour."),
    "brain_edge": ("Marks along the edge of the brain only were left out.", "Look there if you expect tumour."),
    "islands": ("Very small islands were left out.", "Look for small satellites yourself."),
    "faint": ("Small spots of low probability were left out.", "Look for small lesions yourself."),
    "both_sides": (
        "What both halves of the brain show alike was taken for white matter disease and left out.",
        "Look at both sides; a tumour that grows alike in both halves looks the same.",
    ),
    "no_spacing": (
        "The size of the pixels is unknown, so the result is in pixels and not in millimetres.",
        "Enter the size of a pixel with the upload.",
    ),
    "native_axes": (
        "The model expects the axes of an atlas and was given those of the images.",
        "Check the outline, above all when the head is turned.",
    ),
}

_ENCODE = {
    "no_tumour": (
        "Nothing was found; the report says so, and there is no segmentation.",
        "Small or faint tumours can be missed: look yourself.",
    ),
    "header_kept": (
        "A study or patient value breaks the standard and was copied unchanged, so that results are filed correctly.",
        "Nothing needs to be done.",
    ),
    "header_emptied": ("A value that breaks the standard was not copied.", "Nothing needs to be done."),
    "thickness_assumed": (
        "The images do not state their slice thickness; the distance between slices is written instead.",
        "Nothing needs to be done.",
    ),
    "lossy_source": (
        "The images were compressed with losses.",
        "Send uncompressed images if there are any.",
    ),
    "demographics_corrected": (
        "The PACS now has other patient data than the images; results name the patient as the PACS does.",
        "Nothing needs to be done.",
    ),
}

DECISIONS = group(
    "decision",
    "Decisions",
    "Whatever the node leaves out, assumes or changes stands on the study's page; here in the order of its work.",
    {**_READ, **_SELECT, **_ALIGN, **_SEGMENT, **_ENCODE},
)
