"""What the measures of one judgement share, each computed at most once and only when a rule asks for it.

A Judgement is one picture, one scene and one profile, and what is known beside: the file it came from, earlier frames of the same person. In
`live` mode the geometry is that of the crop the booth would cut from the still: `crop` then holds the plan and `geometry_points` the landmarks
inside that crop. Everything that looks at pixels looks at the picture itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from validation import detail, eyes, eyewear, geometry, light, occlusion, skin, wall
from validation.canvas import Canvas, canvas
from validation.errors import NotJudgeableError
from validation.face import Face, Scene
from validation.framing import CropPlan
from validation.head import Head, head
from validation.image import ImageFacts, check_pixels
from validation.profile import Profile
from validation.report import CropFacts, Level, Series


@dataclass(frozen=True, eq=False)
class Judgement:
    """One picture under judgement."""

    image: NDArray[np.uint8]
    scene: Scene
    profile: Profile
    crop: CropPlan | None = None  # live: what would be cut, planned in pixels of the still
    still_scale: float = 1.0  # live: still pixels per preview pixel
    cut: CropFacts | None = None  # what the cut did that made this picture, when the software made it
    source: ImageFacts | None = None  # the file the pixels came from, when there was one
    series: Series | None = None  # what earlier frames of the same person measured
    usual_pose: geometry.Pose | None = None  # live: what `head_pose` says without camera and distance

    def __post_init__(self) -> None:
        """Refuses what would be measured wrongly without a word: other pixels than 8 bits of blue, green and red, an outline of another picture."""
        image, mask = self.image, self.scene.person_mask
        check_pixels(image)
        if mask is not None and (mask.dtype != np.uint8 or mask.shape != image.shape[:2]):
            raise NotJudgeableError("The person's outline is not that of this picture; give the scene of these pixels.")

    @property
    def face(self) -> Face:
        """The face that is judged; the rules are only asked when there is one."""
        face = self.scene.face
        if face is None:
            raise ValueError("no face to judge")
        return face

    @cached_property
    def geometry_points(self) -> NDArray[np.float32]:
        """Landmarks in the picture whose geometry counts: the picture itself, or the planned crop."""
        if self.crop is None:
            return self.face.landmarks
        return geometry.moved(self.face.landmarks * np.float32(self.still_scale), self.crop.matrix())

    @cached_property
    def geometry_size(self) -> tuple[int, int]:
        """Width and height of that picture."""
        if self.crop is None:
            return self.image.shape[1], self.image.shape[0]
        return self.crop.out_width, self.crop.out_height

    @cached_property
    def pose(self) -> geometry.Pose:
        """Head angles; pitch from the calibrated zero."""
        pose = self.measured_pose
        return geometry.Pose(pose.yaw_deg, pose.pitch_deg - self.profile.pitch_zero_deg, pose.roll_deg)

    @cached_property
    def measured_pose(self) -> geometry.Pose:
        """Head angles as the landmarks say them."""
        distance_mm = self.profile.camera_distance_mm
        if self.usual_pose and distance_mm == geometry.USUAL_DISTANCE_MM and self.profile.camera_focal_widths is None:
            return self.usual_pose
        return geometry.head_pose(self.face.landmarks, distance_mm=distance_mm, focal_px=self._focal_px)

    @property
    def _focal_px(self) -> float | None:
        """The camera's focal length in pixels of the judged picture; None where the camera or the whole picture is not known."""
        widths = self.profile.camera_focal_widths
        if widths is None:
            return None
        if self.crop is not None:  # a preview frame is the whole picture
            return widths * float(self.image.shape[1])
        return None if self.cut is None else widths * self.cut.source_width * self.cut.scale

    @cached_property
    def head(self) -> Head:
        """The whole head in the judged picture."""
        levelled_deg = self.crop.angle_deg if self.crop is not None else 0.0
        return head(self.face.landmarks, self.measured_pose, levelled_deg=levelled_deg)

    @cached_property
    def geometry_head(self) -> Head:
        """The whole head in the picture whose geometry counts."""
        if self.crop is None:
            return self.head
        matrix = self.crop.matrix()
        matrix[:, :2] *= self.still_scale
        return self.head.moved(matrix)

    @cached_property
    def canvas(self) -> Canvas:
        """The face at the standard size."""
        return canvas(self.image, self.face.landmarks)

    @cached_property
    def light_zones(self) -> light.Zones | None:
        """Colour of forehead, chin and cheeks."""
        return light.light_zones(self.canvas)

    @cached_property
    def face_luminance(self) -> float | None:
        """Mean luminance of the face below the brows."""
        return self.face_tones.mean if self.face_tones else None

    @cached_property
    def face_tones(self) -> light.Tones | None:
        """Luminance of the face below the brows."""
        return light.face_tones(self.canvas)

    @cached_property
    def unlit(self) -> str | None:
        """Why colours of this face tell nothing, when its exposure is beyond the band that refuses."""
        limits = self.profile.rules.get("light.exposure")
        mean = self.face_luminance
        if limits is None or mean is None or limits.level is not Level.REJECT or limits.limit.holds(mean * 100):
            return None
        return "the face is far too dark or far too bright to judge this"

    @cached_property
    def face_detail(self) -> detail.Detail | None:
        """How much of the face's fine detail is left, and the noise."""
        return detail.detail(self.canvas)

    @cached_property
    def eye_zones(self) -> eyes.EyeZones | None:
        """Both eye visibility zones and the face's own light."""
        return eyes.eye_zones(self.canvas)

    @cached_property
    def eyes_seen(self) -> tuple[bool, bool]:
        """Whether an eye is seen between the lids, right and left."""
        zones = self.eye_zones
        contrasts = (0.0, 0.0) if zones is None else eyes.eye_contrasts(self.canvas, zones) or (0.0, 0.0)
        return contrasts[0] >= eyes.CONTRAST_LEAST, contrasts[1] >= eyes.CONTRAST_LEAST

    @cached_property
    def lens_light(self) -> float | None:
        """Light of the eyes' zones / light of the face."""
        return None if self.eye_zones is None else eyewear.lens_light(self.eye_zones)

    @cached_property
    def reflections(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """Reflections in both eyes' zones."""
        return None if self.eye_zones is None else eyewear.reflections(self.eye_zones)

    @cached_property
    def rims(self) -> eyewear.Rims | None:
        """Lines of a frame across the nose and under the eyes."""
        return eyewear.rims(self.canvas)

    @cached_property
    def skin_region(self) -> NDArray[np.uint8]:
        """Where the canvas shows skin."""
        return skin.skin_region(self.canvas)

    @cached_property
    def background(self) -> wall.Wall | str:
        """The wall behind the person, of what the portrait will show, or why it cannot be seen."""
        mask = self.scene.person_mask
        if mask is None:
            return "the person's outline was not computed"
        window = None
        if self.crop is not None:  # what the crop leaves out does not count
            corners = np.array(self.crop.corners()) / self.still_scale
            low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
            high = np.maximum(np.ceil(corners.max(axis=0)).astype(int), low + 1)
            window = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        scale = float(np.sqrt(abs(np.linalg.det(self.canvas.matrix[:, :2]))))
        seen = wall.wall(
            self.image, mask, self.face.landmarks, scale, window=window, mask_age=max(self.scene.mask_age, 0)
        )
        return "too little of the background is visible" if seen is None or seen.free is None else seen

    @cached_property
    def lower_face(self) -> occlusion.LowerFace | str:
        """How much of the lower face shows skin, or why that cannot be told."""
        return occlusion.lower_face(self.canvas)
