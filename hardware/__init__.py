"""Talking to devices: camera, camera control, lamps. `hardware.sim` is a separate program, never imported by the product."""
