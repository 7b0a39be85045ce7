"""The engine: a plan goes in, a video file comes out.

This file imports nothing that imports torch, so that the web process can read plans without it.
"""

from wan_local.errors import WanLocalError
from wan_local.plan import VideoPlan

__all__ = ["VideoPlan", "WanLocalError"]
