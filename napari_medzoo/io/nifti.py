"""NIfTI (one file or a pair, version 1 and 2) and Analyze 7.5, through nibabel.

NIfTI's affine is the sform where its code is above 0, else the qform where its code is, else what the voxel
sizes alone give (with a warning: left and right are then a guess).

Analyze 7.5 holds no orientation. It is taken as nibabel takes it: the voxel axes are assumed to run left, front
and top (SPM's convention of a flipped first axis), the origin is SPM's where the header has one, else the
volume's middle; an SPM ``.mat`` beside the pair is honoured. The volume carries a warning that says so.
"""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io.raw import EXPORT_AGAIN, Raw, damaged, first_line, native, read_bytes, require_scalar_3d
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo

NO_ORIENTATION = "no orientation in the file (qform and sform codes are 0): left and right are a guess"
ANALYZE = "Analyze 7.5 holds no orientation: the first axis is taken to run to the left, check left and right"
_QFORM = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_SFORM = ("srow_x", "srow_y", "srow_z")
_UNREADABLE: tuple[type[Exception], ...] = (
    *(HeaderDataError, HeaderTypeError, ImageFileError, WrapStructError),
    *(ValueError, TypeError, OverflowError, OSError, EOFError, KeyError),
)


def read_nifti(path: Path) -> Raw:
    """Read ``.nii`` or ``.nii.gz``.

    Raises
    ------
    MedzooError
        For everything that is not one whole 3D volume of grey values.
    """
    content = read_bytes(path, path.name.lower().endswith(".gz"))
    for image_class in (nib.Nifti1Image, nib.Nifti2Image):
        if image_class.header_class.may_contain_header(content[:1024]):
            return _read(path, "NIfTI", image_class, {"image": content})
    raise damaged(path, "NIfTI", "it does not begin with a NIfTI header")


def read_pair(path: Path) -> Raw:
    """Read a ``.hdr`` and ``.img`` pair (either may be given), NIfTI or Analyze 7.5.

    Raises
    ------
    MedzooError
        Also when the other half is missing.
    """
    header, image = pair_paths(path)
    contents = {
        name: read_bytes(file, file.name.lower().endswith(".gz"))
        for name, file in (("header", header), ("image", image))
    }
    for image_class in (nib.Nifti1Pair, nib.Nifti2Pair):
        if image_class.header_class.may_contain_header(contents["header"][:1024]):
            return _read(path, "NIfTI", image_class, contents)
    if not nib.AnalyzeImage.header_class.may_contain_header(contents["header"][:1024]):
        raise damaged(path, "Analyze or NIfTI", "its .hdr is no such header")
    contents["mat"] = _spm_matrix(header.with_name(pair_stem(header) + ".mat"))
    return _read(path, "Analyze", nib.Spm2AnalyzeImage, contents)


def _spm_matrix(path: Path) -> bytes:
    """Content of SPM's ``.mat`` beside a pair; empty where there is none, or one of another program (FSL's is text)."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    content = path.read_bytes() if path.is_file() else b""
    try:
        found = loadmat(BytesIO(content))
    except (MatReadError, ValueError, TypeError, NotImplementedError):
        return b""
    return content if {"M", "mat"} & found.keys() else b""


def pair_stem(path: Path) -> str:
    """The name of a pair without ``.hdr``, ``.img`` and ``.gz``."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return name[:-4]


def pair_paths(path: Path) -> tuple[Path, Path]:
    """Header and image of a pair of which either is given.

    Raises
    ------
    MedzooError
        If the other half is not there.
    """
    given_is_header = path.name.lower().removesuffix(".gz").endswith(".hdr")
    ending = ".img" if given_is_header else ".hdr"
    candidates = [path.with_name(pair_stem(path) + suffix) for suffix in (ending, ending.upper(), ending + ".gz")]
    other = next((file for file in candidates if file.is_file()), None)
    if other is None:
        if path.exists():
            raise MedzooError(f"{path}: the pair's other half, {candidates[0].name}, is missing; put it beside it.")
        other = candidates[0]
    return (path, other) if given_is_header else (other, path)


def _read(path: Path, kind: str, image_class: Any, contents: dict[str, bytes]) -> Raw:
    header_bytes = contents.get("header", contents["image"])
    with LoggingOutputSuppressor():
        try:
            # Read unchecked first: nibabel repairs a voxel size of 0 to 1 mm, which would be an invented geometry.
            header = image_class.header_class.from_fileobj(BytesIO(header_bytes), check=False)
            shape = require_scalar_3d(path, header.get_data_shape(), header.get_data_dtype())
            warnings = _check_geometry(path, header)
            image = image_class.from_file_map({name: FileHolder(fileobj=BytesIO(b)) for name, b in contents.items()})
            proxy = image.dataobj
            expected = math.prod(map(int, proxy.shape)) * proxy.dtype.itemsize
            present = len(contents["image"]) - int(proxy.offset)
            if present < expected:
                raise MedzooError(
                    f"{path}: breaks off, {max(present, 0)} of {expected} bytes of voxels are there; {EXPORT_AGAIN}."
                )
            data = native(np.asanyarray(proxy)).reshape(shape, order="F")
        except MedzooError:
            raise
        except _UNREADABLE as error:
            raise damaged(path, kind, first_line(error)) from error
    affine = np.array(image.affine, dtype=np.float64)
    if kind == "Analyze":
        return Raw(data, affine, warnings=warnings, format="analyze")
    return Raw(data, affine, int(header["qform_code"]), int(header["sform_code"]), warnings, "nifti")


def _check_geometry(path: Path, header: Any) -> tuple[str, ...]:
    """Refuse a geometry that is no geometry, and say what has to be assumed."""
    sizes = np.array(header["pixdim"][1:4], dtype=np.float64)
    nifti = isinstance(header, nib.Nifti1Header)
    warnings: tuple[str, ...] = ()
    if nifti and int(header["sform_code"]) > 0:
        rows = np.array([header[name] for name in _SFORM], dtype=np.float64)
        if not np.isfinite(rows).all():
            raise MedzooError(f"{path}: its sform has NaN or infinite numbers; export the scan with its geometry.")
    else:
        if not np.isfinite(sizes).all() or (sizes == 0).any():
            text = ", ".join(f"{size:g}" for size in sizes)
            raise MedzooError(f"{path}: its voxel size is {text} mm; export the scan again with its geometry.")
        if (sizes < 0).any():
            warnings += ("negative voxel sizes in the header were read as positive",)
        if nifti and int(header["qform_code"]) > 0:
            if not np.isfinite([float(header[name]) for name in _QFORM]).all():
                raise MedzooError(f"{path}: its qform has NaN or infinite numbers; export the scan with its geometry.")
        else:
            warnings += (NO_ORIENTATION if nifti else ANALYZE,)
    if nifti and header.get_xyzt_units()[0] not in ("mm", "unknown"):
        warnings += (f"the header gives lengths in {header.get_xyzt_units()[0]}; they were read as mm",)
    return warnings


def write_nifti(data: NDArray[Any], grid: Grid, path: Path, like: FileInfo | None, labels: bool) -> None:
    """Write ``.nii``, ``.nii.gz`` or a NIfTI-1 pair; qform and sform are both set.

    A qform cannot hold shear, so the sform carries the exact affine. The codes are those of `like`; where its file
    is still there and lies on the same grid, its qform, sform and voxel sizes are taken over bit for bit.
    Should the codes alone not bring `grid` back (both 0, or a sheared grid with only a qform), the sform's becomes 1.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)``, written in its own dtype.
    labels : bool
        Marks the file as a label map (NIfTI's intent).
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    source = _header_like(like, grid)
    if source is not None:
        for name in ("pixdim", "qform_code", "sform_code", *_QFORM, *_SFORM):
            header[name] = source[name]
    else:
        codes = (like.qform_code, like.sform_code) if like and like.format == "nifti" else (1, 1)
        header.set_qform(grid.affine, code=codes[0], strip_shears=True)
        header.set_sform(grid.affine, code=codes[1])
        if not Grid(grid.shape, header.get_best_affine()).same_as(grid, tolerance_mm=1e-3):
            header.set_sform(grid.affine, code=max(codes[1], 1))
    header.set_xyzt_units("mm")
    if labels:
        header.set_intent("label")
    single = path.name.lower().endswith((".nii", ".nii.gz"))
    (nib.Nifti1Image if single else nib.Nifti1Pair)(data, None, header).to_filename(path)


def _header_like(like: FileInfo | None, grid: Grid) -> Any:
    """The input's header when it holds exactly this grid, else None."""
    if like is None or like.format != "nifti" or not like.path.is_file():
        return None
    try:
        with LoggingOutputSuppressor():
            header: Any = nib.load(like.path).header
        same = header.get_data_shape()[:3] == grid.shape and np.array_equal(header.get_best_affine(), grid.affine)
    except _UNREADABLE:
        # The file was replaced or damaged since it was read: its codes, which we hold, have to do.
        return None
    return header if same and isinstance(header, nib.Nifti1Header) else None


def write_pair(data: NDArray[Any], grid: Grid, path: Path, like: FileInfo | None, labels: bool) -> None:
    """Write ``.hdr`` and ``.img``.

    Analyze 7.5 where the scan was Analyze and its header can say where the voxels lie and what they are, else a
    NIfTI-1 pair, which carries any grid and dtype.
    """
    if like is not None and like.format == "analyze" and data.dtype in (np.uint8, np.int16, np.float32):
        header = nib.AnalyzeHeader()
        header.set_data_dtype(data.dtype)
        header.set_data_shape(data.shape)
        header.set_zooms(grid.spacing)
        if Grid(grid.shape, header.get_best_affine()).same_as(grid, tolerance_mm=1e-3):
            nib.AnalyzeImage(data, None, header).to_filename(path)
            return
    write_nifti(data, grid, path, like, labels)
