"""Wire input, seed and files -> VideoPlan, and a stored file -> output body.

The only rooms that know both fal's words and the engine's. Every function is pure.
"""
