"""Pictures and videos that come with a request, decoded in a capped process of their own.

Free of torch and of numpy: the server looks at a file before a GPU is asked for. The engine, which
wants the pixels, takes `reading.py`.
"""

from wan_local.media.info import MediaInfo, MediaKind, MediaLimits
from wan_local.media.probing import probe_media

__all__ = ["MediaInfo", "MediaKind", "MediaLimits", "probe_media"]
