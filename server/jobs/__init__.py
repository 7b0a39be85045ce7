"""Durable work: what was asked, where it stands, what came of it."""
