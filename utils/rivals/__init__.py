"""Other methods to compare with: filters, total variation, inpainting, LADMM, and a plain convolutional network.

Each restores with a function noisy image -> restored image, values in [0, 1]. utils.methods says which are compared.
"""
