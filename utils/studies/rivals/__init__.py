"""Other methods to compare with: filters, total variation, inpainting, LADMM, and a plain convolutional network.

Each restores with a function grey noisy image -> restored image, values in [0, 1]. utils.studies.methods says which are
compared.
"""
