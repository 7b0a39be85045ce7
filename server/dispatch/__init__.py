"""The GPU half: from a queued job to its outcome."""
