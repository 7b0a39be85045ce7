"""The service: fal's queue API in front of wan_local."""
