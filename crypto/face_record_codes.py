"""The code lists of ISO/IEC 39794-1 and -5, numbered as in face_image.asn1. PURE."""

from __future__ import annotations

from enum import IntEnum

# CBEFF registry: ISO/IEC JTC 1/SC 37; under it the numbers of the measures in ISO/IEC 29794-5, in its order (docs/face-record.md).
ISO_SC37 = 0x0101
FIRST_MEASURE = 0x41


class ImageFormat(IntEnum):
    """How the picture is coded."""

    UNKNOWN = 0
    OTHER = 1
    JPEG = 2
    JPEG2000_LOSSY = 3
    JPEG2000_LOSSLESS = 4
    PNG = 5
    PGM = 6
    PPM = 7


class ImageKind(IntEnum):
    """What the picture was made for."""

    MRTD = 0
    GENERAL_PURPOSE = 1


class ColourSpace(IntEnum):
    """Colours of the picture."""

    UNKNOWN = 0
    OTHER = 1
    RGB_24_BIT = 2
    RGB_48_BIT = 3
    YUV_422 = 4
    GREYSCALE_8_BIT = 5
    GREYSCALE_16_BIT = 6


class LossySteps(IntEnum):
    """How often the pixels were coded with loss."""

    UNKNOWN = 0
    ZERO = 1
    ONE = 2
    MORE_THAN_ONE = 3


class CaptureTechnology(IntEnum):
    """What took the picture; the numbers 0 to 6 mean the same in ISO/IEC 19794-5:2005."""

    UNKNOWN = 0
    PHOTOGRAPH_UNKNOWN_SOURCE = 1
    PHOTOGRAPH_DIGITAL_CAMERA = 2
    PHOTOGRAPH_SCANNER = 3
    VIDEO_FRAME_UNKNOWN_SOURCE = 4
    VIDEO_FRAME_ANALOGUE_CAMERA = 5
    VIDEO_FRAME_DIGITAL_CAMERA = 6


class Gender(IntEnum):
    """As the application says, never guessed from a picture."""

    UNKNOWN = 0
    OTHER = 1
    MALE = 2
    FEMALE = 3


class EyeColour(IntEnum):
    """As somebody stated it."""

    UNKNOWN = 0
    OTHER = 1
    BLACK = 2
    BLUE = 3
    BROWN = 4
    GREY = 5
    GREEN = 6
    HAZEL = 7
    MULTI_COLOURED = 8
    PINK = 9


class HairColour(IntEnum):
    """As somebody stated it."""

    UNKNOWN = 0
    OTHER = 1
    BALD = 2
    BLACK = 3
    BLONDE = 4
    BROWN = 5
    GREY = 6
    WHITE = 7
    RED = 8
    KNOWN_COLOURED = 9


class PadDecision(IntEnum):
    """Whether an attack with a picture or a mask was seen."""

    NO_ATTACK = 0
    ATTACK = 1
    FAILURE_TO_ASSESS = 2


class PadContext(IntEnum):
    """What the capture was for."""

    ENROLMENT = 0
    VERIFICATION = 1
    IDENTIFICATION = 2


class PadSupervision(IntEnum):
    """Who watched the capture."""

    UNKNOWN = 0
    CONTROLLED = 1
    ASSISTED = 2
    OBSERVED = 3
    UNATTENDED = 4


class PadCriteria(IntEnum):
    """What the presentation was held against."""

    UNKNOWN = 0
    INDIVIDUAL = 1
    COMMON = 2
