"""From pixels to patches and back: images, corruptions, masks, patches, the dictionary, synthetic samples.

Knows nothing of models, of the files that runs write, or of the settings of the experiment.
"""
