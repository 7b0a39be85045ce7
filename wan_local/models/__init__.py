"""What is held in memory: devices, files, modules and who sits in VRAM."""
