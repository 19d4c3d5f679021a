"""Getting a good portrait: camera and lights as one station, the canonical crop, the encoders."""
