"Write the files of tests/data/voxel_exchange with VTK itself, which metanb does not need: pip install vtk."
import sys
from pathlib import Path

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

HERE = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data" / "voxel_exchange"
N = 4


def formula(n):
    "Whole numbers from 0 to 99 without any symmetry, of the n^3 voxels or points (x, y, z)."
    x, y, z = np.meshgrid(*3 * [np.arange(n)], indexing="ij")
    return (7 * (x % N) + 31 * (y % N) ** 2 + 11 * (z % N) * ((x % N) + 1)) % 100


def image(data, at_points, kind, name="count"):
    "A grid of VTK with one array."
    n = len(data) if at_points else len(data) + 1
    if kind == "rectilinear":
        grid = vtk.vtkRectilinearGrid()
        grid.SetDimensions(n, n, n)
        for put in (grid.SetXCoordinates, grid.SetYCoordinates, grid.SetZCoordinates):
            put(numpy_to_vtk(0.25 * np.arange(n), deep=True))
    else:
        grid = vtk.vtkImageData()
        grid.SetDimensions(n, n, n)
        grid.SetSpacing(0.25, 0.25, 0.25)
    array = numpy_to_vtk(np.ascontiguousarray(data.transpose()).reshape(-1), deep=True)
    array.SetName(name)
    other = numpy_to_vtk(np.zeros((n**3, 3), np.float32), deep=True)
    other.SetName("velocity")
    where = grid.GetPointData() if at_points else grid.GetCellData()
    where.SetScalars(array)
    grid.GetPointData().SetVectors(other)
    return grid


def write(writer, path, grid):
    writer.SetFileName(str(HERE / path))
    writer.SetInputData(grid)
    assert writer.Write()


HERE.mkdir(parents=True, exist_ok=True)
for at_points in (False, True):
    where = "points" if at_points else "cells"
    data = formula(N + at_points)
    for dtype in ("uint8", "float32", "int64"):
        for binary in (False, True):
            writer = vtk.vtkStructuredPointsWriter()
            points = vtk.vtkStructuredPoints()
            points.ShallowCopy(image(data.astype(dtype), at_points, "image"))
            writer.SetFileType(vtk.VTK_BINARY if binary else vtk.VTK_ASCII)
            write(writer, f"{where}_{dtype}_{'binary' if binary else 'text'}.vtk", points)
    for mode in ("Ascii", "Binary", "Appended"):
        for compressor in ("None", "ZLib", "LZMA"):
            if mode == "Ascii" and compressor != "None":
                continue
            for encode in (0, 1) if mode == "Appended" else (0,):
                writer = vtk.vtkXMLImageDataWriter()
                getattr(writer, f"SetDataModeTo{mode}")()
                writer.SetCompressorType(getattr(vtk.vtkXMLWriter, "NONE" if compressor == "None" else compressor.upper()))
                writer.SetEncodeAppendedData(encode)
                writer.SetBlockSize(64 if compressor != "None" and mode == "Appended" else 4096)
                if mode == "Binary":
                    writer.SetByteOrderToBigEndian()
                    writer.SetHeaderTypeToUInt32()
                write(writer, f"{where}_{mode.lower()}_{compressor.lower()}{'_base64' * encode}.vti", image(data.astype("int16"), at_points, "image"))
writer = vtk.vtkRectilinearGridWriter()
writer.SetFileType(vtk.VTK_BINARY)
write(writer, "cells_rectilinear.vtk", image(formula(N).astype("float64"), False, "rectilinear"))
write(vtk.vtkXMLRectilinearGridWriter(), "cells_rectilinear.vtr", image(formula(N).astype("float64"), False, "rectilinear"))
