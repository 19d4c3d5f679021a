"""The virtual booth: lamps, camera and camera control at the wire, with a rendered sitter; nothing of the product is imported."""
