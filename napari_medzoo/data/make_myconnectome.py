"""Make ``myconnectome_T1w.nii.gz`` from the full-head scan in pydeface's source distribution.

    pip download --no-deps --no-binary :all: pydeface==2.1.0 && tar xzf pydeface-2.1.0.tar.gz
    python napari_medzoo/data/make_myconnectome.py pydeface-2.1.0

The face goes as pydeface takes it off (its own template and face mask, brought onto the scan by an affine
registration; SimpleITK's here instead of FSL's). Then the air and the lower neck are cut, and the scan is
stored with voxels of 1.1 mm and 256 grey levels, so that it weighs little.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

SPACING_MM = 1.1
NECK_MM = 172
"""How much of the head is kept below its top, in mm (to below the cerebellum and the second vertebra)."""
MARGIN_MM = 6


def make(pydeface: Path, output: Path) -> None:
    """Deface, cut and shrink the scan of the source distribution unpacked at `pydeface`; write `output`."""
    scan = sitk.ReadImage(next((pydeface / "tests/data").glob("ds000031*_T1w.nii.gz")), sitk.sitkFloat32)
    template = sitk.ReadImage(pydeface / "pydeface/data/mean_reg2mean.nii.gz", sitk.sitkFloat32)
    face = sitk.ReadImage(pydeface / "pydeface/data/facemask.nii.gz", sitk.sitkFloat32)

    start = sitk.CenteredTransformInitializer(
        scan, template, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsMattesMutualInformation(50)
    registration.SetMetricSamplingStrategy(registration.RANDOM)
    registration.SetMetricSamplingPercentage(0.1, seed=1)
    registration.SetOptimizerAsGradientDescent(1.0, 200, convergenceMinimumValue=1e-6)
    registration.SetOptimizerScalesFromPhysicalShift()
    registration.SetShrinkFactorsPerLevel([4, 2])
    registration.SetSmoothingSigmasPerLevel([4, 2])
    registration.SetInitialTransform(start, inPlace=True)
    registration.SetInterpolator(sitk.sitkLinear)
    registration.Execute(scan, template)
    # The mask is 1 where the head stays; outside the template nothing is face.
    keep = sitk.Resample(face, scan, start, sitk.sitkNearestNeighbor, 1.0)
    defaced = scan * sitk.Cast(keep > 0.5, sitk.sitkFloat32)

    # A little smoothing before the coarser grid, against aliasing.
    spacing = defaced.GetSpacing()
    size = [int(np.ceil(n * s / SPACING_MM)) for n, s in zip(defaced.GetSize(), spacing, strict=True)]
    defaced = sitk.DiscreteGaussian(defaced, [(0.25 * SPACING_MM) ** 2] * 3)
    smaller = sitk.Resample(
        defaced, size, sitk.Transform(), sitk.sitkLinear, defaced.GetOrigin(), [SPACING_MM] * 3, defaced.GetDirection()
    )

    data = sitk.GetArrayFromImage(smaller).transpose()  # (X, Y, Z); the file's axes point left, front, up
    head = np.argwhere(sitk.GetArrayFromImage(sitk.OtsuThreshold(smaller, 0, 1)).transpose())
    margin = round(MARGIN_MM / SPACING_MM)
    low = np.maximum(head.min(0) - margin, 0)
    high = np.minimum(head.max(0) + 1 + margin, data.shape)
    low[2] = max(low[2], high[2] - round(NECK_MM / SPACING_MM) - margin)
    ceiling = np.percentile(data[data > 0], 99.9)
    grey = np.round(np.clip(data / ceiling, 0, 1) * 255).astype(np.uint8)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))

    lps = np.array(smaller.GetDirection()).reshape(3, 3) * SPACING_MM
    affine = np.eye(4)
    affine[:3, :3] = lps
    affine[:3, 3] = np.array(smaller.GetOrigin()) + lps @ low
    affine[:2] *= -1  # SimpleITK's x and y grow to the left and back, nibabel's to the right and front
    image = nib.Nifti1Image(grey[box], affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header["descrip"] = b"MyConnectome sub-01 ses-006, PDDL, defaced"
    image.to_filename(output)
    print(f"{output}: {image.shape}, {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(__file__).with_name("myconnectome_T1w.nii.gz"))
