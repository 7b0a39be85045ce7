"""LoRA files of every layout in the wild -> exact changes of an expert's weights, and back.

`header` reads what a file claims, `grammar` what its keys mean, `names` which weight they mean,
`layers` whether it all fits the model: none of it imports torch. `adapter` reads the tensors,
`applying` puts them on the weights and takes them off, `shelf` keeps what was read.
"""
