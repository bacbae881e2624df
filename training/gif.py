"""What the labels of a GIF parcellation (version 3; Cardoso et al. 2015, doi:10.1109/TMI.2015.2418298) mean.

Its numbers are those of the Neuromorphometrics atlas plus one. Every structure below was looked up in the parcellation
of ``misc/t2_gif``: where it lies, on which side, and how large it is.
"""

from __future__ import annotations

GIF_TO_ASEG: dict[int, int] = {
    **dict.fromkeys((1, 2, 3), 0),  # outside the brain
    **dict.fromkeys((4, 47), 24),  # CSF around the brain and in the cisterns
    **{5: 14, 12: 15, 51: 5, 50: 44, 53: 4, 52: 43},  # ventricles: third, fourth, inferior and lateral
    **{31: 26, 24: 58, 33: 18, 32: 54, 38: 11, 37: 50, 49: 17, 48: 53},  # accumbens, amygdala, caudate, hippocampus
    **{57: 13, 56: 52, 59: 12, 58: 51, 61: 10, 60: 49, 63: 28, 62: 60},  # pallidum, putamen, thalamus, ventral DC
    **{35: 16, 36: 16},  # pons and the rest of the brain stem
    **{40: 8, 39: 47, 42: 7, 41: 46, 72: 8, 73: 8, 74: 8},  # cerebellum; the vermis goes to one side, as for MUSE
    **{65: 30, 64: 62, 87: 251},  # vessels, corpus callosum
    **dict.fromkeys(range(89, 95), 2),
    **dict.fromkeys(range(81, 87), 41),
    **{index: 42 if index % 2 else 3 for index in range(101, 209)},  # cortical parcels
}
"""GIF → aseg. Left out, because aseg has no word for it or it is not known well enough: 16 (cave of the septum), 43,
66 and 67 (beside the thalamus), 70 (optic chiasm), 76 and 77 (basal forebrain), 96 and 97 (claustrum)."""
