"""New frames between the decoded ones: networks, their weights by shape, and the stream.

To add a network: a module with a class that has `multiple`, `see` and `between`, a row in
`opening.NETWORKS`, a row in `catalog.INTERPOLATORS`, and its name in `plan.InterpolationSpec`.
"""
