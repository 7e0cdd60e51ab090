"A truss as a solid: against the homogenisation of the voxel space, and beams that become slender."
import numpy as np
import torch

from metanb.truss.design import TrussDesign, deformed_cell
from metanb.truss.mechanics import effective_stiffness
from metanb.truss.solid import solid_stiffness, solid_voxels
from metanb.voxel.mechanics import homogenize


def test_a_cube_of_voxels_is_what_the_voxel_space_finds():
    rng = np.random.default_rng(0)
    design = TrussDesign.of((0, 1), (2, 1), density=0.3, radii=rng.uniform(0.7, 1.4, (1, 11)),
                            moves=np.concatenate([np.zeros((1, 1, 3)), rng.uniform(-0.2, 0.2, (1, 1, 3))], 1))
    solid = solid_voxels(design, 12)
    other = homogenize(torch.as_tensor(solid.astype(float)), rtol=1e-7, symmetry="none").C
    torch.testing.assert_close(solid_stiffness(solid), other, rtol=0, atol=1e-8)


def test_struts_along_the_axes_in_a_stretched_cell():
    "Slender struts only stretch here: the stiffness along an axis is the cross section between nodes, and a little more since nodes are thick."
    design = TrussDesign.of((0, 1), density=0.01, U=(1.0, 1.5, 0.8))
    solid, F = solid_voxels(design, 40), deformed_cell(design).F
    C = solid_stiffness(solid, F)
    for axis in range(3):
        section = np.take(solid, 20, axis).mean()  # nodes are in the corners of the cube
        assert 1 < C[axis, axis] / section < 1.12
    beams = effective_stiffness(design)[0]
    assert abs(C[:3, :3].diagonal().sum() / beams[:3, :3].diagonal().sum() - 1) < 0.15  # rods of five voxels have not quite their area
