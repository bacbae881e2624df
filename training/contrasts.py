"""How a scan weighs the tissues: a mean and a spread of the signal for every tissue, in every kind of contrast.

One draw of tissues (`draw_tissues`) stands for one patient: all contrasts of a study are made from it, so that a
tissue that is bright for its kind in T1w is dark for its kind in T2w. T1w follows the priors that come with the label
maps, measured on gradient-echo scans (Billot et al. 2023, doi:10.1016/j.media.2023.102789). The other contrasts follow
the signal equations of spin echo and inversion recovery, with textbook relaxation times, and echo, repetition and
inversion times from wide ranges: fluid is bright in T2w and dark in FLAIR, grey matter is brighter than white in both.
Outside the brain, where flow, fat suppression and saturation bands decide, a share of the signals is random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .labelmaps import LabelMaps

Weights = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Mean and standard deviation of the signal of each tissue, ``(tissues,) float64`` each; the scale is 0–255."""

WHITE = (2, 41, 85, 512, 530)  # with the optic chiasm and nerve and the spinal cord
GREY = (3, 42, 11, 50, 17, 53, 18, 54, 26, 58)
VENTRICLES = (4, 43, 5, 44, 14, 15, 72)
LESION = (25, 57)  # of white matter
FLUID = (*VENTRICLES, 24)
EYES = (506,)
FLOWING = (30, 62, 502, 514)  # small vessels, arteries, veins and sinuses
FATTY = (508, 511, 516)  # orbits, skin with the fat below it, marrow
ENHANCING = (30, 62, 136, 137, 163, 164, 502, 509, 514)  # vessels, choroid plexus, mucosa: what gadolinium reaches
FIRST_OUTSIDE = 500  # from here on, indices are of the head outside the brain

RELAXATION: dict[tuple[int, ...], tuple[float, float, float]] = {
    WHITE: (0.70, 830, 71),
    GREY: (0.82, 1330, 96),
    (7, 46): (0.72, 850, 75),
    (8, 47): (0.82, 1300, 93),
    (10, 49): (0.76, 1080, 77),
    (12, 51): (0.80, 1180, 78),
    (13, 52): (0.74, 950, 62),  # iron
    (16,): (0.74, 950, 78),
    (28, 60): (0.73, 920, 73),
    LESION: (0.84, 1250, 140),
    (136, 163, 137, 164): (0.88, 1500, 160),  # choroid plexus
    FLUID: (1.00, 4000, 1600),
    EYES: (1.00, 3600, 1000),
    FLOWING: (0.85, 1600, 110),
    (507,): (0.80, 950, 48),  # muscle, with the fat between
    (509,): (0.85, 1300, 110),
    (508, 511): (0.90, 420, 110),  # fat; its long T2 is what a train of echoes makes of it
    (516,): (0.65, 550, 90),
    (515,): (0.10, 700, 25),  # cortical bone
}
"""FreeSurfer-style indices → proton density (share of water's), T1 and T2 in ms, at about 3 T."""


@dataclass(frozen=True)
class Tissues:
    """The tissues of one head; all arrays are ``(tissues,) float64`` unless said otherwise.

    Attributes
    ----------
    density, t1_ms, t2_ms : numpy.ndarray
        Proton density (0–1) and relaxation times.
    t1w_means, t1w_stds : numpy.ndarray
        Mean and spread of its gradient-echo T1w signal (0–255).
    members : tuple of tuple of int
        FreeSurfer-style indices of each tissue. Number 0 is air.
    """

    density: NDArray[np.float64]
    t1_ms: NDArray[np.float64]
    t2_ms: NDArray[np.float64]
    t1w_means: NDArray[np.float64]
    t1w_stds: NDArray[np.float64]
    members: tuple[tuple[int, ...], ...]

    def among(self, indices: Iterable[int]) -> NDArray[np.bool_]:
        """Which tissues hold one of `indices`, ``(tissues,) bool``."""
        wanted = frozenset(indices)
        return np.array([not wanted.isdisjoint(member) for member in self.members])

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Which tissues lie outside the brain (not air), ``(tissues,) bool``."""
        return np.array([bool(member) and min(member) >= FIRST_OUTSIDE for member in self.members])


def draw_tissues(maps: LabelMaps, random: np.random.Generator) -> Tissues:
    """One patient: how the tissues differ from the usual, once for all contrasts of a study."""
    members = maps.tissue_members
    count = len(members)
    usual = np.array([_relaxation(member, random) for member in members])
    latent = random.normal(size=count).clip(-2.5, 2.5)  # above 0: bright in T1w for its kind
    own = random.normal(size=(4, count)).clip(-2.5, 2.5)
    outside = np.array([bool(member) and min(member) >= FIRST_OUTSIDE for member in members])
    varied = outside | np.array([member[:1] == LESION[:1] for member in members])
    spread = np.where(varied, 0.2, 0.06)
    fluid = np.array([member[:1] != () and member[0] in FLUID + EYES for member in members])
    field = np.where(fluid, 1.0, random.uniform(0.75, 1.1))  # T1 grows with the field strength, but not that of water
    return Tissues(
        density=(usual[:, 0] * np.exp(0.03 * own[0])).clip(0, 1),
        t1_ms=usual[:, 1] * field * np.exp(-spread * latent + 0.5 * spread * own[1]),
        t2_ms=usual[:, 2] * np.exp(-spread * latent + 0.5 * spread * own[2]),
        t1w_means=(maps.t1w_means[0].numpy() + maps.t1w_means[1].numpy() * latent).clip(0, 255),
        t1w_stds=(maps.t1w_stds[0].numpy() + maps.t1w_stds[1].numpy() * own[3]).clip(1, 60),
        members=members,
    )


def _relaxation(member: tuple[int, ...], random: np.random.Generator) -> tuple[float, float, float]:
    for indices, values in RELAXATION.items():
        if member and member[0] in indices:
            return values
    return random.uniform(0.5, 1.0), float(np.exp(random.uniform(6.0, 8.0))), float(np.exp(random.uniform(3.5, 5.5)))


def _spin_echo(tissues: Tissues, repetition_ms: float, echo_ms: float) -> NDArray[np.float64]:
    return tissues.density * (1 - np.exp(-repetition_ms / tissues.t1_ms)) * np.exp(-echo_ms / tissues.t2_ms)


def _inversion(tissues: Tissues, repetition_ms: float, echo_ms: float, inversion_ms: float) -> NDArray[np.float64]:
    """Signed: a tissue that has not yet recovered through zero is negative."""
    recovered = 1 - 2 * np.exp(-inversion_ms / tissues.t1_ms) + np.exp(-repetition_ms / tissues.t1_ms)
    return tissues.density * recovered * np.exp(-echo_ms / tissues.t2_ms)


def _t1w(tissues: Tissues, random: np.random.Generator) -> Weights:
    """Mostly gradient echo, by the label maps' priors; else a spin echo, in which grey and white are closer."""
    if random.random() < 0.8:
        return tissues.t1w_means.copy(), tissues.t1w_stds.copy()
    signal = _spin_echo(tissues, random.uniform(350, 750), random.uniform(7, 18))
    return _finish(signal, tissues, random, flow_void=0.5, fat_suppression=0.1)


def _t1wgd(tissues: Tissues, random: np.random.Generator) -> Weights:
    """T1w after gadolinium: vessels, choroid plexus and mucosa light up, sometimes lesions."""
    if random.random() < 0.5:
        means, stds = tissues.t1w_means.copy(), tissues.t1w_stds.copy()
    else:
        signal = _spin_echo(tissues, random.uniform(350, 750), random.uniform(7, 18))
        means, stds = _finish(signal, tissues, random, flow_void=0.3, fat_suppression=0.2)
    lit = tissues.among(ENHANCING)
    if random.random() < 0.15:
        lit |= tissues.among(LESION)
    top = means[tissues.among(WHITE)].max(initial=100.0) * random.uniform(1.0, 1.5)
    means[lit] += random.uniform(0.2, 1.0, int(lit.sum())) * np.maximum(top - means[lit], 0)
    return means.clip(0, 255), stds


def _t2w(tissues: Tissues, random: np.random.Generator) -> Weights:
    """Train of spin echoes: fluid brightest, grey matter brighter than white, muscle and iron dark."""
    signal = _spin_echo(tissues, random.uniform(2500, 8000), random.uniform(75, 125))
    return _finish(signal, tissues, random, flow_void=0.7, fat_suppression=0.3)


def _pdw(tissues: Tissues, random: np.random.Generator) -> Weights:
    """A long repetition and an early echo: all of the brain alike, white matter darkest."""
    signal = _spin_echo(tissues, random.uniform(2000, 5000), random.uniform(8, 35))
    return _finish(signal, tissues, random, flow_void=0.6, fat_suppression=0.2)


def _flair(tissues: Tissues, random: np.random.Generator) -> Weights:
    """T2w after an inversion, read when fluid passes through zero or nearly so."""
    repetition = random.uniform(6000, 11000)
    fluid_t1 = tissues.t1_ms[tissues.among(FLUID)].mean() if tissues.among(FLUID).any() else 4000.0
    null = fluid_t1 * (np.log(2) - np.log1p(np.exp(-repetition / fluid_t1)))
    signal = _inversion(tissues, repetition, random.uniform(85, 145), null * random.uniform(0.9, 1.08))
    return _finish(np.abs(signal), tissues, random, flow_void=0.7, fat_suppression=0.4)


def _ir(tissues: Tissues, random: np.random.Generator) -> Weights:
    """Inversion recovery read early: T1w with much contrast, as magnitude or without what is still negative."""
    repetition, echo = random.uniform(2500, 6000), random.uniform(10, 40)
    if random.random() < 0.6:
        signal = np.abs(_inversion(tissues, repetition, echo, random.uniform(350, 1200)))
    else:  # late enough for white matter to be positive
        signal = _inversion(tissues, repetition, echo, random.uniform(750, 1200)).clip(min=0)
    return _finish(signal, tissues, random, flow_void=0.5, fat_suppression=0.2)


def _random(tissues: Tissues, random: np.random.Generator) -> Weights:
    """Any contrast at all: uniform means and standard deviations."""
    count = len(tissues.members)
    means, stds = random.uniform(10, 240, count), random.uniform(1, 25, count)
    means[0] = random.uniform(0, 20)
    return means, stds


def _finish(
    signal: NDArray[np.float64],
    tissues: Tissues,
    random: np.random.Generator,
    flow_void: float,
    fat_suppression: float,
) -> Weights:
    """Signals of any unit as means and spreads on the scale 0–255, with what the equations do not know.

    Blood that leaves the slice between pulse and echo (`flow_void`: how often), suppressed fat (`fat_suppression`: how
    often), a departure of every tissue, and random signals for a fifth of the tissues outside the brain.
    """
    count, outside = len(signal), tissues.outside
    brain = ~outside
    brain[0] = False
    top = max(signal[brain].max(initial=0.0), 1e-6)
    signal = signal * np.exp(np.where(outside, 0.25, 0.03) * random.normal(size=count).clip(-2.5, 2.5))
    if random.random() < fat_suppression:
        signal = np.where(tissues.among(FATTY), signal * random.uniform(0.05, 0.4), signal)
    void = tissues.among(FLOWING) & (random.random(count) < flow_void)
    signal = np.where(void, signal * random.uniform(0.0, 0.4, count), signal)
    astray = outside & ~tissues.among((515,)) & (random.random(count) < 0.2)
    signal = np.where(astray, random.uniform(0, top, count), signal)

    means = signal / top * random.uniform(170, 250)
    mixed = outside | tissues.among(FLOWING) | tissues.among((24,))  # muscle with fat, fluid with veins
    stds = means * np.where(mixed, random.uniform(0.08, 0.45, count), random.uniform(0.02, 0.1, count))
    stds += random.uniform(1, 8, count)
    means[0], stds[0] = random.uniform(0, 12), random.uniform(1, 6)
    return means.clip(0, 255), stds.clip(1, 60)


CONTRASTS: dict[str, Callable[[Tissues, np.random.Generator], Weights]] = {
    "t1w": _t1w,
    "t2w": _t2w,
    "flair": _flair,
    "pdw": _pdw,
    "t1wgd": _t1wgd,
    "ir": _ir,
    "random": _random,
}
"""Kind of contrast → its weights of the tissues of one head."""


def class_weights(
    maps: LabelMaps, weights: Weights, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Means and spreads of every class of the label maps instead of every tissue.

    Structures of one tissue differ a little (a caudate is no cortex), the same on both sides; fluid is smoother inside
    the ventricles than between the gyri. The spread is divided between voxels and patches of some millimetres, and
    outside the brain, where one class holds muscle, fat and vessels, most of it goes to the patches.

    Returns
    -------
    means, grain, patches : numpy.ndarray
        ``(L,) float64``: the mean, the standard deviation from voxel to voxel, and that from patch to patch, whose
        sign says whether a patch that is bright in one modality of the head is bright or dark in this one.
    """
    tissue_of, indices, one_side = maps.tissue_of.numpy(), maps.indices.numpy(), maps.one_side
    count = len(indices)
    draws = random.normal(size=(2, count)).clip(-2.5, 2.5)[:, one_side]
    means, stds = (values[tissue_of] for values in weights)
    stds = stds * np.exp(0.2 * draws[1])
    stds[np.isin(indices, VENTRICLES)] *= random.uniform(0.25, 1.0)
    share = np.where(indices >= FIRST_OUTSIDE, 0.8, 0.0)
    share += random.uniform(0, 1, count)[one_side] * np.where(share > 0, 0.15, 0.2)
    share[indices == 0] = 0  # air
    sign = np.where(random.random(count)[one_side] < 0.5, -1, 1)
    return means * np.exp(0.03 * draws[0]), stds * np.sqrt(1 - share), sign * stds * np.sqrt(share)
