"""From pixels to patches and back: images, damage, masks, patches, the dictionary. Knows nothing of models or runs."""
