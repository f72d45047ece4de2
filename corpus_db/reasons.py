"""The ledger's vocabulary: every reason for which a resource is not there, or is with something to know."""

from typing import NamedTuple


class Reason(NamedTuple):
    """Why a resource ended as it did."""

    status: str
    transient: bool
    says: str


REASONS = {
    key: Reason(*row)
    for key, row in {
        "timeout": ("failed", True, "no answer in time"),
        "connection_lost": ("failed", True, "the connection was refused, reset or closed before an answer"),
        "name_not_found": ("failed", True, "the host's name did not resolve"),
        "short_body": ("failed", True, "fewer bytes than the site promised"),
        "bad_json": ("failed", True, "not JSON, or JSON that ends too early"),
        "http_408": ("failed", True, "the site ended a slow request"),
        "http_425": ("failed", True, "the site asked to come again"),
        "http_429": ("failed", True, "too many requests"),
        "http_5xx": ("failed", True, "an error of the site's (5xx)"),
        "http_error": ("failed", False, "an answer that is neither a body nor a known refusal"),
        "upstream_error": ("failed", False, "the answer's own error field is set"),
        "wrong_shape": ("failed", False, "JSON of another shape than this endpoint's"),
        "redirect_loop": ("failed", False, "redirected too often, or in a circle"),
        "empty_body": ("failed", False, "an image of zero bytes"),
        "not_an_image": ("failed", False, "bytes that are no image"),
        "truncated_image": ("failed", False, "an image that ends too early"),
        "broken_image": ("failed", False, "an image that does not decode"),
        "missing_file": ("failed", False, "the files at hand lack it"),
        "unreadable_file": ("failed", False, "the disk does not give it"),
        "broken_archive": ("failed", False, "an archive that is damaged or of a kind that is not read"),
        "named_twice": ("failed", False, "an archive that holds several files of one name"),
        "repeated_id": ("failed", False, "an id that an earlier row has"),
        "unknown_id": ("failed", False, "says more of an id that is not here"),
        "not_in_package": ("failed", False, "its article's package lacks it"),
        "encrypted": ("failed", False, "an archive's member that needs a password"),
        "bad_row": ("failed", False, "a row that lacks what it must hold, or holds something else"),
        "not_an_object": ("failed", False, "no JSON object"),
        "wrong_width": ("failed", False, "a row of more or fewer cells than its header"),
        "bad_encoding": ("failed", False, "text that is no UTF-8; save the file as UTF-8"),
        "not_dicom": ("failed", False, "a file that is no DICOM"),
        "broken_dicom": ("failed", False, "a DICOM file whose header cannot be read, or lacks what its pixels need"),
        "no_pixels": ("skipped", False, "a DICOM file without pixels: a plan, a waveform, a palette"),
        "unknown_transfer_syntax": ("failed", False, "pixels packed in a way that is not named, or that nothing reads"),
        "no_decoder": (
            "failed",
            False,
            "pixels that no plug-in here unpacks: pip install pylibjpeg-libjpeg pylibjpeg-openjpeg",
        ),
        "too_many_frames": ("refused", False, "more frames than a DICOM file may have"),
        "burned_in": ("refused", False, "its header says that a patient's name or the like is burnt into the picture"),
        "no_address": ("failed", False, "the site lists the image without an address"),
        "http_404": ("gone", False, "not found"),
        "http_410": ("gone", False, "gone for good"),
        "case_gone": ("gone", False, "its case is gone"),
        "no_longer_listed": ("gone", False, "it is listed no more"),
        "too_many_pixels": ("refused", False, "more pixels than an image may have: a decompression bomb?"),
        "too_large": ("refused", False, "more bytes than are taken"),
        "other_host": ("refused", False, "an address on another host or port"),
        "other_scheme": ("refused", False, "an address that is not http"),
        "path_traversal": ("refused", False, "a path that climbs"),
        "bad_address": ("refused", False, "not an address"),
        "redirect_away": ("refused", False, "redirected off the site"),
        "robots": ("refused", False, "robots.txt forbids it"),
        "deleted": ("skipped", False, "deleted upstream"),
        "hidden": ("skipped", False, "not shown upstream"),
        "purged": ("skipped", False, "taken down here for good"),
        # notes: the resource is there, with something to know
        "shared_image": ("ok", False, "lists an image of another case"),
        "type_differs": ("ok", False, "an image of another type than declared"),
    }.items()
}


def is_transient(reason: str | None) -> bool:
    """Whether the same request may succeed later."""
    return reason is not None and REASONS[reason].transient
