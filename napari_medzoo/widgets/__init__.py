"""The only code that knows napari and Qt.

``layers`` turns studies and segmentations into napari layers and back, ``view`` turns the camera the anatomical
way, ``plugin`` holds what the manifest names, ``panel`` answers what the small views ask for, ``jobs`` keeps long
work off the main thread, ``demo`` opens a finished result.
"""
