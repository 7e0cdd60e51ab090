"""Small legal arguments for every public function, by its name, by that of the argument, or by what the argument accepts; used by `test_arguments.py`."""
import inspect
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

EMPTY = inspect.Parameter.empty


# Cells and the like, each made once -----------------------------------------------------------------------------------
@cache
def cells():
    from metanb.kirigami.design import admissible_designs
    return admissible_designs(100, 0, sweeps=2)


@cache
def angles():
    return torch.from_numpy(cells()[:2]).float()


@cache
def base():
    from metanb.kirigami.lattice import base_pattern
    return base_pattern(6, torch.device("cpu"))


@cache
def trusses():
    from metanb.truss.design import random_designs
    return random_designs(2, 0)


@cache
def truss():
    from metanb.truss.design import random_designs
    return random_designs(1, 0)


@cache
def stiffness():
    from metanb.core.elasticity import isotropic_stiffness
    return isotropic_stiffness(0.1, 0.05)


@cache
def octants():
    from metanb.voxel.families import random_cells
    return random_cells(2, 0, octant=8)[0]


@cache
def cell():
    from metanb.voxel.design import unfold
    return unfold(octants()[0])


@cache
def cell_constants():
    from metanb.voxel.inverse import verify
    return verify(octants())


@cache
def cell_model():
    from metanb.voxel.model import CellDiffusion
    return CellDiffusion(octant=8, width=32, blocks=1, embedding=16, noise_steps=10).eval()


@cache
def small_block():
    from metanb.voxel.macro import block
    return block((3, 2, 2)).held("-x", "x").held("-x", "y").held("-x", "z").pressed("+x", (0, 0, -0.01))


@cache
def voxel_goal():
    from metanb.voxel.extremes import GOALS
    return GOALS["bulk"]


@cache
def voxel_effort():
    from metanb.voxel.auxetic import Effort
    return Effort(1, (1, 1), 1, (1, 0))


@cache
def voxel_records():
    from metanb.voxel.extremes import save_records
    return save_records({"one": octants()[0]}, Path("known_records.npz"))


@cache
def block_constants():
    return torch.tensor([0.4, 0.15, 0.1], dtype=torch.float64)[:, None, None, None].expand(3, 3, 2, 2).contiguous()


@cache
def reach():
    from metanb.voxel.multiscale import reach_of
    return reach_of(lessons().properties)


def body():
    from metanb.voxel.multiscale import Body
    return Body(block_constants(), torch.ones(3, 2, 2, dtype=torch.bool), small_block(), lambda u: (u**2).sum())


@cache
def designed():
    from metanb.voxel.multiscale import optimise
    return optimise(body(), reach(), steps=1, groups=np.zeros(12, int), progress=False)


@cache
def cell_candidates():
    from metanb.voxel.multiscale import cells_for
    return cells_for(lessons().properties[:1, :3], lessons(), rounds=1, progress=False)


@cache
def filled_body():
    from metanb.voxel.cloak import filled
    return filled(body(), designed(), cell_candidates(), octants()[0], cell_constants()[0])


@cache
def small_cloak():
    from metanb.voxel.cloak import cloak
    return cloak(4, (0.4, 0.15, 0.1))


@cache
def lessons():
    from metanb.voxel.octants import to_wedge
    from metanb.voxel.train import Lessons
    from metanb.voxel.families import random_cells
    from metanb.voxel.inverse import verify
    some = random_cells(40, 1, octant=8)[0]
    free, properties = to_wedge(some), verify(some)
    return Lessons(free[:30], properties[:30], free[30:], properties[30:])


@cache
def pixels():
    from metanb.cellular.design import random_designs
    return random_designs(2, 0, quarter=8)


@cache
def quarters():
    return pixels()[:, :8, :8]


@cache
def compressed():
    from metanb.cellular.mechanics import compress
    return compress(pixels(), max_strain=0.02, frames=(0.5, 1.0), steps=400)


@cache
def axes():
    import matplotlib.pyplot as plt
    return plt.subplots()[1]


@cache
def schedule():
    from metanb.core.schedules import cosine_schedule
    return cosine_schedule(10)


@cache
def denoiser():
    from metanb.core.diffusion import Denoiser
    return Denoiser(lambda x, t, condition: x, schedule())


def generator():
    return torch.Generator().manual_seed(0)


def table_row():
    return {"quantity": "share", "paper": 1.0, "ours": 1.0, "target": "1", "ok": True}


@cache
def coverage():
    from metanb.core.coverage import Coverage
    return Coverage(np.random.default_rng(0).random((9, 2)), ("x", "y"), np.array([[0.0, 1.0], [0.0, 1.0]]))


@cache
def axes3():
    import matplotlib.pyplot as plt
    return plt.figure().add_subplot(projection="3d")


def shard(n, seed):
    return {"a": np.full((n, 2), float(seed % 7))}


@cache
def data_set():
    from metanb.core.store import generate
    generate(Path("a set").resolve(), shard, n=4, shard_size=2, progress=False)
    return str(Path("a set").resolve())


@cache
def box():
    import trimesh
    return trimesh.creation.box((10, 10, 10))


@cache
def stl():
    box().export("box.stl")
    return Path("box.stl").resolve()


@cache
def table():
    Path("table.csv").write_text("a,b\n1,2\n3,4\n")
    return Path("table.csv").resolve()


@cache
def checkpoint():
    from metanb.core.training import save_checkpoint
    save_checkpoint("saved.safetensors", {"a": torch.ones(2)}, header={"step": 1})
    return Path("saved.safetensors").resolve()


def trainable():
    from metanb.kirigami.model import VAE
    return VAE(latent=2, width=4)


def learnt():
    from metanb.kirigami.model import to_network
    return to_network(cells()[:4])


@cache
def small_model():
    from metanb.kirigami.model import VAE
    return VAE(latent=2, width=4)


def box_of_widgets():
    import ipywidgets
    return ipywidgets.HBox()


def figure_widget():
    import plotly.graph_objects as go
    return go.FigureWidget()


@cache
def kirigami(path):
    import importlib
    module, name = path.split(".")
    return getattr(importlib.import_module(f"metanb.kirigami.{module}"), name)(nodes=12)


def stiff_ones(seed):
    return stiffness() * (1 + 0.1 * torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


@cache
def kirigami_set():
    from metanb.kirigami.data import dataset, load
    return load(dataset(beta_max=60, preset="test", progress=False))


@cache
def fitted():
    from metanb.core.training import Fit
    return Fit(small_model(), None, [{"step": 1, "seconds": 1.0}], 1, True)


@cache
def truss_set():
    from metanb.truss.data import dataset, load
    return load(dataset(preset="test", n=4, shard_size=2, progress=False))


def truss_rows():
    from metanb.truss.design import to_table
    return to_table(trusses())


@cache
def truss_table(stiff=False):
    from metanb.truss.design import COLUMNS
    rows, names = np.asarray(truss_rows()), list(COLUMNS)
    np.savetxt("trusses.csv", rows[:, :len(names)], delimiter=",", header=",".join(names), comments="")
    return Path("trusses.csv").resolve()


@cache
def truss_graph():
    from metanb.truss.topology import compound
    return compound(truss().types[0], truss().tessellations[0])


@cache
def block():
    from metanb.truss.export import graph
    return graph(truss(), edge=10.0)


@cache
def block_csv():
    from metanb.truss.export import write_csv
    return [Path(path).resolve() for path in write_csv(block(), "block")]


@cache
def truss_forward():
    from metanb.truss.forward import AffineForward
    return AffineForward(width=8, blocks=1).eval()


@cache
def field():
    from metanb.truss.grading import grading
    return grading(np.array([[0.0, 0, 0], [20, 20, 20]]), trusses(), edge=10.0)


def answer(targets, seed):
    return np.repeat(octants()[:1][None], len(targets), 0)


@cache
def perturbed_parents():
    np.save("parents.npy", lessons().free)
    return str(Path("parents.npy").resolve())


@cache
def voxel_lists():
    from metanb.voxel.benchmark import save_lists
    save_lists({"a": np.array([[0.3, 0.1, 0.1, 0.4]])}, "voxel_lists.npz")
    return Path("voxel_lists.npz").resolve()


@cache
def voxel_cells():
    from metanb.voxel.data import families, load
    return load(families(preset="test", n=4, shard_size=2, octant=8, progress=False))


def packed():
    from metanb.voxel.design import pack
    return pack(octants())


@cache
def grid_file():
    np.save("grid.npy", cell())
    return Path("grid.npy").resolve()


@cache
def optimum():
    from metanb.voxel.optimize import optimize
    return optimize("bulk", 0.4, octant=4, max_steps=2, sharpness=(1,), stage_steps=1)


@cache
def voxel_found():
    from metanb.core.search import Found
    return Found(octants(), cell_constants(), np.array([0.1, 0.2]), np.array([0.1, 0.2]), cell_constants()[0], 2)


@cache
def parents():
    from metanb.voxel.families import Parents
    return Parents(octants())


@cache
def octant_domain():
    from metanb.voxel.operators import Octant
    return Octant(torch.ones(1, 4, 4, 4, dtype=torch.float64), [0], 0.3)


@cache
def small_diffusion():
    from metanb.core.diffusion import Diffusion
    from metanb.core.schedules import cosine_schedule
    from metanb.core.unet import UNet
    return Diffusion(UNet(1, 1, 1, widths=(8,)), cosine_schedule(10), shape=(1, 4))


@cache
def voxel_task():
    from metanb.voxel.optimize import Task
    return Task("bulk", 0.4, octant=4, stage_steps=1, sharpness=(1,))


@cache
def voxel_run():
    from metanb.voxel.optimize import InverseHomogenization
    run = InverseHomogenization("bulk", 0.4, octant=4, stage_steps=1, sharpness=(1,))
    run.step()
    return run


@cache
def voxel_state():
    from metanb.voxel.optimize import save_state
    save_state(voxel_run(), "voxel_state.npz")
    return Path("voxel_state.npz").resolve()


@cache
def responses():
    from metanb.cellular.data import initial_data
    return initial_data(quarter=12)


@cache
def deck_mesh():
    from metanb.cellular.calculix import deck_mesh as made
    return made(pixels()[0])


@cache
def material():
    from metanb.cellular.material import Material
    return Material()


@cache
def mesh():
    from metanb.cellular.mesh import pixel_mesh
    return pixel_mesh(pixels()[0])


def settings_of(name):
    import metanb.cellular.settings as settings
    return settings.Marching(steps=100, device="cpu", compiled=False) if name == "Marching" else getattr(settings, name)()


@cache
def motion():
    from metanb.cellular.motion import Batch, make_plan
    batch = Batch([mesh()], material(), settings_of("Loading"), settings_of("Marching"))
    return batch, make_plan(batch)


@cache
def bound():
    from metanb.cellular.element import make_bound
    return make_bound(material())


def motion_x():
    return torch.zeros(2, len(mesh().X))


@cache
def ring():
    x = torch.tensor([[2.0, 6, 6, 2], [2, 2, 6, 6]])
    return torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]), x


@cache
def boundary():
    from metanb.cellular.contact import make_boundary
    segments, x = ring()
    return make_boundary(segments, x, torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.bool), width=16.0, height=16.0, distance=0.1)


@cache
def candidates():
    from metanb.cellular.contact import list_candidates
    return list_candidates(boundary(), ring()[1])


def square():
    return np.array([[0.0, 1, 1, 0], [0, 0, 1, 1]]), np.array([[0], [1], [2], [3]]), np.array([[0, 1, 2, 3], [1, 2, 3, 0]])


def curves():
    return np.stack([np.linspace(0, high, 5) for high in (1.0, 2.0, 3.0)])


# Argument -> a legal value, newly made: "space.module.function.argument", "space.module.*.argument", "space.*.argument", "*.argument"

# cellular: data, networks, what a search holds
@cache
def catalogue():
    from metanb.cellular.lessons import catalogue as shipped
    return shipped(24)[np.arange(150)]


def dozen():
    return catalogue().quarters[:2]


@cache
def cell_lessons():
    from metanb.cellular.lessons import lessons as split
    return split(catalogue())


@cache
def forward_network():
    from metanb.cellular.forward import CurveNetwork
    return CurveNetwork(pixels=24, widths=(8, 8, 8), hidden=8).eval()


@cache
def bit_model():
    from metanb.cellular.generator import CurveDiffusion
    return CurveDiffusion(pixels=24, embedding=8, width=16, blocks=1, noise_steps=10).eval()


@cache
def video_model():
    from metanb.cellular.model import SIZES, VideoDiffusion
    return VideoDiffusion(**SIZES["test"], noise_steps=10).eval()


@cache
def videos():
    from metanb.cellular.model import generate
    return generate(video_model(), catalogue().stress[:1], n_steps=2)


@cache
def film():
    from metanb.cellular.films import verified_film
    return verified_film(compressed())


def known():
    from metanb.cellular.inverse import from_data
    return from_data(catalogue().stress[:1], catalogue(), 2)[0]


@cache
def trained_curves():
    from metanb.core.training import Fit
    return Fit(forward_network(), None, [{"step": 1, "seconds": 1.0}], 1, True)


@cache
def picture():
    axes().figure.savefig("picture.png")
    return Path("picture.png").resolve()


def proposed(curves, n, seed):
    return [dozen()[:n] for _ in curves]


def answered(targets):
    return [known() for _ in targets]


@cache
def catalogue_file():
    from metanb.cellular.lessons import save_catalogue
    return save_catalogue(catalogue(), Path("catalogue.npz").resolve())


@cache
def cell_lists():
    from metanb.cellular.benchmark import save_lists
    return save_lists({"a": np.ones((1, 11))}, Path("cell_lists.npz").resolve())


def first_notebook():
    from metanb.core.batch import find_notebooks
    return find_notebooks()[0]


def never_computed():
    from metanb.core.store import generate
    return generate("another set", shard, n=4, shard_size=2, progress=False)


# auxetic cells
@cache
def corners():
    from metanb.voxel.auxetic import corner_nodes
    return corner_nodes(4)


@cache
def auxetic_run():
    from metanb.voxel.auxetic import AuxeticSearch, Effort
    run = AuxeticSearch(0.4, octant=4, effort=Effort(starts=2, survivors=(1, 1), steps=1, rounds=(1, 0), tries=1))
    run.step()
    return run


def grey():
    return auxetic_run().grey


RECIPES = {
    "*.generator": generator, "*.rng": lambda: np.random.default_rng(0), "*.seed": lambda: 0, "*.device": lambda: "cpu", "*.preset": lambda: "test",
    "*.name": lambda: "name", "*.poisson": lambda: 0.3, "*.progress": lambda: False, "*.ax": axes, "*.C": stiffness, "*.target": stiffness,
    "*.volume_fraction": lambda: 0.3, "*.path": lambda: Path("a file"), "*.folder": lambda: Path("a folder"), "*.padding": lambda: ["circular"],
    "*.model": lambda: torch.nn.Linear(2, 2),
    # core
    "core.batch.read_value.default": lambda: "text",
    "core.cards.numbers.values": lambda: (1.0,),
    "core.coverage.Coverage.values": lambda: np.random.default_rng(0).random((9, 2)), "core.coverage.Coverage.names": lambda: ("x", "y"),
    "core.coverage.Coverage.ranges": lambda: np.array([[0.0, 1.0], [0.0, 1.0]]), "core.coverage.*.coverage": lambda: coverage(),
    "core.coverage.nearest.targets": lambda: np.full((3, 2), 0.5), "core.coverage.*.x": lambda: "x", "core.coverage.*.y": lambda: "y",
    "core.device.*.shape": lambda: (2,),
    "core.diffusion.*.denoise": denoiser, "core.diffusion.*.x": lambda: torch.ones(2, 1, 4), "core.diffusion.*.x0": lambda: torch.ones(2, 1, 4),
    "core.diffusion.for_sampling.model": lambda: small_diffusion(), "core.diffusion.*.grid": lambda: [2, 10], "core.diffusion.*.schedule": schedule, "core.diffusion.*.network": lambda: lambda x, t, condition: x,
    "core.diffusion.drop_condition.condition": lambda: torch.ones(3, 2), "core.diffusion.DenoisingModel.network": lambda: torch.nn.Linear(2, 2),
    "core.elasticity.*.R": lambda: np.eye(3), "core.elasticity.*.constants": lambda: np.array([1.0, 0.2, 0.2, 1, 0.2, 1, 0.3, 0.3, 0.3]),
    "core.elasticity.to_matrix.constants": lambda: np.arange(21.0), "core.elasticity.axis_angle.axis": lambda: np.array([0.0, 0.0, 1.0]), "core.elasticity.axis_angle.angle": lambda: 0.5,
    "core.elasticity.rotation_from_six.six": lambda: np.array([1.0, 0, 0, 0, 1, 0]), "core.elasticity.*.voigt_order": lambda: "abaqus",
    "core.elasticity.tensor_to_voigt.C": lambda: np.ones((3, 3, 3, 3)), "core.elasticity.*.direction": lambda: np.array([1.0, 0, 0]),
    "core.elasticity.cubic_target.C11": lambda: 1.0, "core.elasticity.cubic_target.C12": lambda: 0.2, "core.elasticity.orthotropic_target.young": lambda: (1.0, 1.0, 1.0),
    "core.elasticity.orthotropic_target.poisson": lambda: (0.3, 0.3, 0.3), "core.elasticity.orthotropic_target.shear": lambda: (0.4, 0.4, 0.4),
    "core.elasticity.*.base": stiffness, "core.elasticity.elastic_surface.n": lambda: 5,
    "core.files.shipped_folder.what": lambda: "weights", "core.files.*.paths": lambda: [Path("a file")], "core.files.write_file.content": lambda: b"bytes",
    "core.files.suffix_of.allowed": lambda: (".stl",), "core.files.suffix_of.path": lambda: "a.stl", "core.files.write_json.value": lambda: {"a": 1},
    "core.hub.export_parquet.path": lambda: Path(data_set()), "core.hub.export_parquet.folder": lambda: Path("parquet"),
    "core.metrics.*.rows": lambda: [table_row()], "core.metrics.as_number.value": lambda: 1.0, "core.metrics.as_number.form": lambda: ".3g", "core.metrics.row.ours": lambda: 1.0,
    "core.metrics.row.paper": lambda: 1.0, "core.metrics.share_row.share": lambda: 0.5, "core.metrics.share_row.error": lambda: 0.1, "core.metrics.write_metrics.out": lambda: Path("out"),
    "core.metrics.share_row.paper": lambda: 50.0,
    "core.plotting.colormap.kind": lambda: "cyclic", "core.plotting.draw_tensors.shapes": lambda: [(1, 4)], "core.plotting.draw_tensors.color": lambda: "red",
    "core.plotting.plot_projections.axes": lambda: [axes(), axes(), axes()], "core.plotting.panel_labels.axes": axes, "core.plotting.save_figure.fig": lambda: axes().figure,
    "core.plotting.save_figure.out": lambda: Path("figures"), "core.plotting.plot_modulus.ax": lambda: axes3(), "core.plotting.plot_modulus.n": lambda: 5,
    "core.presets.sizes.table": lambda: {"test": {"n": 1}}, "core.presets.pick.test": lambda: 1, "core.presets.pick.demo": lambda: 2, "core.presets.pick.paper": lambda: 3,
    "core.printing.read_mesh.path": lambda: stl(), "core.printing.check_print.path": lambda: stl(), "core.printing.write_mesh.path": lambda: Path("written.stl"),
    "core.printing.write_mesh.mesh": lambda: box(),
    "core.recipes.check_command.recipes": dict, "core.recipes.check_command.names": lambda: ["one"],
    "core.runs.results.folder": lambda: Path("."), "core.runs.*.package": lambda: Path(__import__("metanb").__file__).parent, "core.runs.forward.module": lambda: "truss.train",
    "core.schedules.make_schedule.name": lambda: "linear", "core.schedules.*.schedule": schedule, "core.schedules.step_grid.n_steps": lambda: 3,
    **{f"core.schedules.{one}.{x}": lambda: torch.ones(2, 3) for one in ("add_noise", "x0_from_eps", "eps_from_x0") for x in ("x", "x0", "eps", "noise")},
    "core.schedules.*.alpha_bar": lambda: 0.5, "core.schedules.Schedule.alpha_bar": lambda: torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64),
    "core.elasticity.check_stiffness.name": lambda: "C",  # it names its argument as its caller does
    "core.search.best_of_each.error": lambda: np.array([0.3, 0.1, 0.2]), "core.search.search.propose": lambda: np.arange, "core.search.search.verify": lambda: lambda designs: designs,
    "core.search.search.error": lambda: lambda found: np.abs(found - 1.0), "core.search.*.n_candidates": lambda: 4, "core.search.*.keep": lambda: 2,
    "core.store.digest.arrays": lambda: {"a": np.ones(3)}, "core.store.*.make_shard": lambda: shard, "core.store.generate.n": lambda: 4, "core.store.generate.shard_size": lambda: 2,
    "core.store.generate.path": lambda: Path("another set"), "core.store.set_sizes.table": lambda: {"test": {"n": 2, "shard_size": 1}}, "core.store.set_sizes.given": dict,
    "core.store.*.path": lambda: Path(data_set()), "core.store.pack_dataset.file": lambda: Path("packed.zip"), "core.store.export_npz.file": lambda: Path("arrays.npz"),
    "core.store.shipped.name": lambda: "kirigami_60", "core.store.Dataset.finished": lambda: np.array([0]), "core.store.generate.progress": lambda: False, "core.store.verify.progress": lambda: False,
    "core.store.set_folder.former": lambda: "former",
    "core.tables.read_columns.path": lambda: table(), "core.tables.read_columns.names": lambda: ("a", "b"),
    "core.training.Phase.module": lambda: torch.nn.Linear(2, 2), "core.training.Phase.loss": lambda: lambda batch, generator: batch.sum(), "core.training.*.model": lambda: torch.nn.Linear(2, 2),
    "core.training.*.ema": lambda: torch.nn.Linear(2, 2), "core.training.Fit.ema": lambda: None, "core.training.permutation.epoch": lambda: 0, "core.training.*.data": lambda: torch.ones(4, 2),
    "core.training.*.batch_size": lambda: 2, "core.training.Packed.bits": lambda: torch.zeros(2, 1, dtype=torch.uint8), "core.training.unpack_bits.bits": lambda: torch.zeros(2, 1, dtype=torch.uint8),
    "core.training.Packed.shape": lambda: (8,), "core.training.unpack_bits.shape": lambda: (8,), "core.training.*.step": lambda: 1, "core.training.*.steps": lambda: 2,
    "core.training.*.tensors": lambda: {"a": torch.ones(2)}, "core.training.*.header": dict, "core.training.load_checkpoint.path": lambda: checkpoint(), "core.training.Team.device": lambda: torch.device("cpu"),
    "core.training.fit.model": lambda: trainable(), "core.training.fit.data": lambda: learnt(), "core.training.fit.progress": lambda: False, "core.training.thin.history": lambda: [{"step": 1}, {"step": 2}], "core.training.Batches.device": lambda: torch.device("cpu"),
    "core.training.save_checkpoint.path": lambda: Path("a checkpoint.safetensors"), "core.training.fit.device": lambda: "cpu", "core.training.fit.batch_size": lambda: 2,
    "core.unet.wrap.x": lambda: torch.ones(1, 1, 4), "core.unet.wrap.axes": lambda: [2], "core.unet.Upsample.stride": lambda: [2], "core.unet.UNet.dims": lambda: 1, "core.unet.UNet.widths": lambda: (4, 8),
    "core.weights.keeps_config.network": lambda: type("Net", (torch.nn.Linear,), {}), "core.weights.save_pretrained.model": lambda: small_model(), "core.weights.save_pretrained.card": dict,
    "core.weights.save_pretrained.folder": lambda: Path("saved"), "core.weights.*.name_or_folder": lambda: "kirigami/vae_60",
    "core.widgets.slider.low": lambda: 0.0, "core.widgets.slider.high": lambda: 1.0, "core.widgets.menu.options": lambda: ["a", "b"], "core.widgets.tabs.apps": lambda: {"one": box_of_widgets()},
    "core.widgets.*.controls": dict, "core.widgets.png.figure": lambda: axes().figure, "core.widgets.picture.draw": lambda: lambda: axes().figure, "core.widgets.text.write": lambda: lambda: "text",
    "core.widgets.number_table.values": lambda: {"a": 1.0}, "core.widgets.download_link.content": lambda: b"bytes", "core.widgets.update_traces.traces": lambda: [], "core.widgets.scene.left": lambda: 0.0,
    "core.apps.write_app.name": lambda: "truss",
    "core.widgets.scene.right": lambda: 1.0, "core.widgets.update_traces.figure": lambda: figure_widget(), "core.widgets.show.app": lambda: box_of_widgets, "core.widgets.show.still": lambda: lambda: axes().figure,
    "core.widgets.app_box.rows": lambda: (box_of_widgets(),), "core.widgets.surface_trace.n": lambda: 5,
    "core.workers.as_completed.executor": lambda: None, "core.workers.as_completed.calls": lambda: {0: (abs, -1)}, "core.workers.as_completed.in_flight": lambda: None,
    # kirigami
    **{f"kirigami.*.{one}": lambda: cells()[:2] for one in ("alpha", "designs", "reference", "start", "generated", "data", "train", "a", "b", "cells")},
    **{f"kirigami.{room}.*.alpha": lambda: angles().clone() for room in ("anyorder", "jump", "pairwise", "torus", "lattice")},
    "kirigami.*.base": base, "kirigami.*.candidates": lambda: 4, "kirigami.*.sharpness": lambda: 1.0, "kirigami.*.beta_max": lambda: 60.0, "kirigami.*.n": lambda: 2, "kirigami.*.size": lambda: 6,
    "kirigami.*.device": lambda: torch.device("cpu"), "kirigami.*.kept": lambda: torch.tensor(0.5), "kirigami.*.before": lambda: torch.tensor(0.3), "kirigami.*.after": lambda: torch.tensor(0.6),
    "kirigami.benchmark.*.device": lambda: "cpu", "kirigami.data.*.device": lambda: "cpu", "kirigami.train.*.device": lambda: "cpu",
    "kirigami.anyorder.hide.shape": lambda: (2, 6, 6), "kirigami.anyorder.draw_hidden.density": lambda: kirigami("anyorder.AnyOrder"), "kirigami.anyorder.draw_hidden.visible": lambda: torch.ones(2, 6, 6, dtype=torch.bool),
    "kirigami.anyorder.draw_hidden.chosen": lambda: (torch.tensor([0]), torch.tensor([0]), torch.tensor([0])),
    "kirigami.benchmark.*.name": lambda: "energy", "kirigami.benchmark.find_generator.path": lambda: "math:cos", "kirigami.benchmark.check_generated.generated": lambda: cells()[:2],
    "kirigami.benchmark.score.generate": lambda: lambda n, seed, beta_max: cells()[:n], "kirigami.benchmark.score.n": lambda: 50, "kirigami.benchmark.score.data": cells, "kirigami.benchmark.score.heldout": cells,
    "kirigami.benchmark.score.classifier": lambda: False, "kirigami.benchmark.leaderboard.scores": lambda: [],
    "kirigami.data.*.sweeps": lambda: 2, "kirigami.data.relaxation.sweeps": lambda: [1, 2], "kirigami.data.autocorrelation.sweeps": lambda: [1, 2], "kirigami.data.load.path": lambda: kirigami_set().dataset.path,
    "kirigami.data.relaxation.start": lambda: cells()[:60], "kirigami.data.autocorrelation.alpha": lambda: cells()[:60],
    "kirigami.data.statistics.cells": lambda: kirigami_set(), "kirigami.data.Cells.dataset": lambda: kirigami_set().dataset, "kirigami.data.dataset.progress": lambda: False, "kirigami.data.statistics.n_chains": lambda: 4,
    "kirigami.design.cuts_cross.alpha": lambda: np.array([10.0, 20.0]), "kirigami.design.*.partner": lambda: np.array([30.0, 40.0]), "kirigami.design.*.offset": lambda: (1, 0),
    "kirigami.design.pair_map.angles": lambda: np.array([0.0, 10.0]), "kirigami.design.pair_path.start": lambda: np.array([0.0, 90.0]), "kirigami.design.pair_path.end": lambda: np.array([10.0, 80.0]),
    **{f"kirigami.design.{one}.alpha": lambda: cells()[0] for one in ("cut_ends", "plot_cell", "cut_pattern", "export_svg", "export_dxf")},
    "kirigami.design.export_svg.path": lambda: Path("cell.svg"), "kirigami.design.export_dxf.path": lambda: Path("cell.dxf"),
    "kirigami.explore.pairs_meet.pairs": lambda: np.array([[10.0, 20.0]]), "kirigami.explore.*.path": lambda: np.array([[0.0, 0.0], [10.0, 10.0], [20.0, 0.0]]), "kirigami.explore.along.share": lambda: 0.5,
    "kirigami.explore.*.a": lambda: (10.0, 80.0), "kirigami.explore.*.b": lambda: (20.0, 70.0), "kirigami.explore.*.c": lambda: (15.0, 75.0), "kirigami.explore.*.alpha": lambda: cells()[0],
    "kirigami.explore.generated_cells.name": lambda: "kirigami/vae_60", "kirigami.explore.rarity.n": lambda: 100, "kirigami.explore.draw_limit.n": lambda: 100, "kirigami.explore.draw_generator.found": lambda: {("vae", "60"): "kirigami/vae_60"},
    "kirigami.explore.draw_generator.model": lambda: "vae", "kirigami.explore.draw_generator.limit": lambda: "60", "kirigami.explore.generated_cells.n": lambda: 2, "kirigami.explore.draw_generated.cells": lambda: cells()[:4],
    "kirigami.jump.jump_probability.density": lambda: torch.tensor([1.0, 2.0]), "kirigami.jump.*.n_steps": lambda: 3, "kirigami.jump.*.clean": lambda: kirigami("jump.JumpDiffusion"),
    "kirigami.jump.guess.view": lambda: (slice(None), slice(0, None, 2), slice(0, None, 2)),
    "kirigami.lattice.degrees_of.x": lambda: torch.zeros(2, 1, 6, 6), "kirigami.lattice.neighbours.values": lambda: torch.ones(2, 6, 6), "kirigami.lattice.choose.angles": lambda: torch.ones(2, 3),
    "kirigami.lattice.*.log_weight": lambda: torch.zeros(2, 3), "kirigami.lattice.waves_at.beta": lambda: torch.ones(2, 3), "kirigami.lattice.waves_at.coefficients": lambda: torch.ones(2, 4),
    **{f"kirigami.metrics.{one}.{key}": lambda: cells() for one, keys in {"classifier_two_sample_test": "a b", "evaluate": "generated data", "memorisation": "generated train heldout"}.items() for key in keys.split()},
    "kirigami.metrics.evaluate.heldout": cells, "kirigami.metrics.evaluate.classifier": lambda: False, "kirigami.metrics.classifier_two_sample_test.epochs": lambda: 1,
    "kirigami.metrics.pair_path_admissible.a": lambda: np.array([10.0, 80.0]), "kirigami.metrics.pair_path_admissible.b": lambda: np.array([20.0, 70.0]), "kirigami.metrics.pair_statistics.n": lambda: 100,
    "kirigami.metrics.pair_statistics.n_steps": lambda: 5, "kirigami.metrics.path_admissible.n_steps": lambda: 5, "kirigami.metrics.pair_path_admissible.n_steps": lambda: 5, "kirigami.metrics.histogram_floor.alpha": cells,
    "kirigami.metrics.nearest_distance.candidates": lambda: 2,
    "kirigami.model.to_angles.x": lambda: torch.zeros(2, 1, 6, 6), "kirigami.model.*.mean": lambda: torch.zeros(2, 3), "kirigami.model.*.log_variance": lambda: torch.zeros(2, 3), "kirigami.model.build.name": lambda: "vae",
    "kirigami.model.generate.model": lambda: small_model().eval(), "kirigami.model.layer_shapes.network": lambda: torch.nn.Sequential(torch.nn.Linear(2, 2)).eval(), "kirigami.model.layer_shapes.inputs": lambda: (torch.ones(1, 2),),
    **{f"kirigami.model.{one}.{key}": (lambda value: lambda: value)(value) for one in ("VAE", "GAN", "WGAN", "LatentModel") for key, value in (("latent", 2), ("width", 4))}, "kirigami.model.*.width": lambda: 4,
    "kirigami.model.intersections_of.n": lambda: 2, "kirigami.pairwise.*.energy": lambda: kirigami("pairwise.PairwiseEnergy"), "kirigami.plotting.*.names": lambda: ["vae"], "kirigami.plotting.epochs.history": lambda: [{"step": 1}],
    "kirigami.plotting.plot_training.shipped": lambda: {"vae": [{"step": 1, "intersections": 0.1}]}, "kirigami.plotting.plot_training.live": dict, "kirigami.torus.mills.z": lambda: torch.ones(3),
    "kirigami.torus.*.score": lambda: kirigami("torus.TorusScore"), "kirigami.torus.*.n_steps": lambda: 2, "kirigami.train.*.name": lambda: "vae", "kirigami.train.train.data": cells, "kirigami.train.train.steps": lambda: 1,
    "kirigami.train.train.progress": lambda: False, "kirigami.train.train.device": lambda: "cpu", "kirigami.train.make_card.result": lambda: fitted(), "kirigami.train.make_card.data": lambda: kirigami_set(), "kirigami.train.make_card.heldout": lambda: kirigami_set(),
    "kirigami.train.make_card.n": lambda: 50,
    # truss
    **{f"truss.*.{one}": trusses for one in ("designs",)}, "truss.*.design": truss, "truss.*.trusses": lambda: truss_set(), "truss.*.n": lambda: 2, "truss.*.folder": lambda: Path("a truss"),
    "truss.data.load.path": lambda: truss_set().dataset.path, "truss.data.dataset.progress": lambda: False, "truss.data.Trusses.C": lambda: np.ones((2, 21)), "truss.data.Trusses.C_ort": lambda: np.ones((2, 21)), "truss.data.import_table.path": lambda: truss_table(True),
    **{f"truss.design.TrussDesign.{one}": (lambda one: lambda: getattr(truss(), one))(one) for one in ("types", "tessellations", "relative_density", "U", "V", "R_I", "R_II")},
    "truss.design.from_table.table": lambda: truss_rows(), "truss.design.read_table.path": lambda: truss_table(), "truss.design.DeformedCell.graph": lambda: truss_graph(),
    "truss.export.*.repeats": lambda: 1, "truss.export.*.truss": lambda: block(), "truss.export.*.edge": lambda: 10.0, "truss.export.write_vtu.path": lambda: Path("a.vtu"), "truss.export.read_csv.nodes": lambda: block_csv()[0],
    "truss.export.read_csv.struts": lambda: block_csv()[1], "truss.export.union_volume.points": lambda: 100, "truss.export.surface.resolution": lambda: 2.0, "truss.export.export_truss.resolution": lambda: 2.0, "truss.export.export_truss.formats": lambda: ("csv",),
    "truss.export.export_truss.edge": lambda: 2.0, "kirigami.metrics.late_change.curve": lambda: np.arange(12.0), "core.printing.write_beams.path": lambda: Path("beams.3mf"),
    "core.printing.write_beams.nodes": lambda: np.eye(3), "core.printing.write_beams.struts": lambda: np.array([[0, 1], [1, 2]]), "core.printing.write_beams.radii": lambda: np.array([0.1, 0.2]),
    **{f"truss.export.TrussGraph.{one}": (lambda one: lambda: getattr(block(), one))(one) for one in ("nodes", "struts", "radii", "shares")},
    "truss.forward.*.hidden": lambda: [4], "truss.forward.rotation_average.z": lambda: torch.ones(2, 21), "truss.forward.rotation_average.n": lambda: 8, "truss.forward.*.width": lambda: 4, "truss.forward.predict_stiffness.model": lambda: truss_forward(),
    "truss.forward.r2_score.found": lambda: torch.rand(5, 3, generator=generator()), "truss.forward.r2_score.true": lambda: torch.rand(5, 3, generator=generator()), "truss.forward.AffineForward.width": lambda: 4, "truss.forward.AffineForward.blocks": lambda: 1,
    **{f"truss.forward.{one}": lambda: [4] for one in ("OrthotropicNet.hidden", "Regression.hidden", "ShearNet.hidden", "ForwardModel.orthotropic", "ForwardModel.shear", "BlackBox.hidden")},
    "truss.grading.*.field": lambda: field(), "truss.grading.*.low": lambda: np.zeros(3), "truss.grading.*.high": lambda: np.full(3, 20.0), "truss.grading.*.x": lambda: np.full((2, 3), 10.0), "truss.grading.grading.points": lambda: np.array([[0.0, 0, 0], [20, 20, 20]]),
    "truss.grading.grading.design": lambda: trusses(), "truss.grading.*.edge": lambda: 10.0, "truss.grading.*.resolution": lambda: 6, "truss.grading.phases.resolution": lambda: 6, "truss.grading.graded_truss.resolution": lambda: 6,
    "truss.inverse.nmse.C": stiffness, "truss.inverse.refine.iterations": lambda: 1, "truss.inverse.strut_set.slots": lambda: ((1, 1),), "truss.inverse.design_for.n_candidates": lambda: 10, "truss.inverse.design_for.n_polished": lambda: 1,
    "truss.inverse.design_for.iterations": lambda: 1, "truss.inverse.design_for.keep": lambda: 1, "truss.inverse.*.ds": lambda: truss_set().dataset, "truss.inverse.*.target": lambda: 0.05 * stiffness(),
    "truss.mechanics.strut_stiffness.v": lambda: torch.ones(3, 4), "truss.mechanics.strut_stiffness.area": lambda: torch.ones(4), "truss.mechanics.*.graph": lambda: truss_graph(), "truss.mechanics.*.F": lambda: torch.eye(3, dtype=torch.float64)[None],
    "truss.mechanics.*.areas": lambda: torch.full((1, len(truss_graph().struts)), 0.01, dtype=torch.float64), "truss.inverse.design_for.propose": lambda: __import__("metanb.truss.inverse", fromlist=["x"]).random_proposer,
    "truss.model.*.C": lambda: stiffness()[None], "truss.model.*.logits": lambda: torch.ones(2, 3), "truss.model.*.temperature": lambda: 1.0, "truss.model.*.hidden": lambda: [4], "truss.model.geometry.raw": lambda: torch.rand(2, 19, generator=generator()),
    **{f"truss.model.InverseChain.{one}": lambda: [4] for one in ("topology", "geometry", "refinement")},
    "truss.plotting.tubes.lines": lambda: np.array([[[0.0, 0, 0], [1, 0, 0]]]), "truss.plotting.tubes.radius": lambda: 0.1, "truss.plotting.relative_strain.axial": lambda: np.array([0.1, 0.2]), "truss.plotting.*.strain": lambda: np.array([0.1, 0, 0, 0, 0, 0]),
    "truss.plotting.layer_sizes.network": lambda: torch.nn.Linear(2, 3), "truss.plotting.draw_networks.rows": lambda: [["a", ("b", torch.nn.Linear(2, 3))]], "truss.plotting.plot_cell.ax": axes3, "truss.plotting.plot_projected.half": lambda: 1.0, "truss.plotting.plot_projected.inches": lambda: 2.0, "truss.plotting.draw_gallery.C": lambda: stiffness()[None].expand(2, 6, 6), "truss.plotting.draw_gallery.titles": lambda: ["a", "b"],
    "truss.plotting.draw_targets.found": dict, "truss.plotting.draw_targets.pairs": dict, "truss.plotting.draw_targets.scales": dict,
    "truss.relaxed.exact.function": lambda: torch.sin, "truss.relaxed.*.types": lambda: torch.full((1, 3, 7), 1 / 7), "truss.relaxed.*.tessellations": lambda: torch.full((1, 3, 2), 0.5), "truss.relaxed.polar.F": lambda: torch.eye(3)[None],
    "truss.relaxed.*.z": lambda: torch.ones(1, 21), "truss.relaxed.*.R": lambda: torch.eye(3)[None], "truss.relaxed.isometric.C": lambda: stiffness()[None],
    "truss.topology.*.type_": lambda: 1, "truss.topology.*.tessellation": lambda: 1, "truss.topology.*.points": lambda: np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]), "truss.topology.periodic_images.ends": lambda: np.array([[[0.0, 0, 0], [0.5, 0.5, 0.5]]]),
    "truss.topology.joined.segments": lambda: np.array([[[0.0, 0, 0], [0.5, 0.5, 0.5]]]), "truss.topology.*.slots": lambda: ((1, 1),), "truss.topology.*.compound": lambda: truss_graph(), "truss.topology.*.types": lambda: truss().types[0], "truss.topology.*.tessellations": lambda: truss().tessellations[0],
    "truss.topology.*.graph": lambda: truss_graph(), "truss.topology.block_of.cells": lambda: np.zeros((1, 3), int), "truss.topology.add_lattice.vertices": lambda: np.array([[0.0, 0, 0], [1.0, 0, 0]]), "truss.topology.add_lattice.struts": lambda: np.array([[0, 1]]),
    "truss.train.build.name": lambda: "forward", "truss.train.*.data": lambda: truss_set(), "truss.train.*.heldout": lambda: truss_set(), "truss.train.*.result": lambda: fitted(),
}
RECIPES |= {
    "truss.data.dataset.n": lambda: 2, "truss.data.dataset.shard_size": lambda: 2, "truss.train.*.name": lambda: "affine", "truss.train.prepared.model": truss_forward, "truss.train.r2_of.model": truss_forward,
    "truss.train.train.steps": lambda: 1, "truss.train.train.progress": lambda: False, "truss.train.train.width": lambda: 4, "truss.forward.r2_score.found": lambda: stiff_ones(0), "truss.forward.r2_score.true": lambda: stiff_ones(1),
    "truss.export.surface.resolution": lambda: 0.15, "truss.topology.Elementary.vertices": lambda: ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), "truss.topology.Elementary.struts": lambda: ((0, 1),), "truss.inverse.refine.design": truss,
    "kirigami.data.dataset.preset": lambda: "test", "kirigami.jump.*.after": lambda: torch.tensor(0.6), "kirigami.benchmark.score.data": lambda: kirigami_set().designs, "kirigami.benchmark.score.heldout": lambda: kirigami_set().designs[:100],
    "kirigami.metrics.evaluate.data": lambda: kirigami_set().designs, "kirigami.metrics.evaluate.heldout": lambda: kirigami_set().designs[:100],
    # voxel
    "voxel.*.octant": lambda: 8, "voxel.*.n": lambda: 2, "voxel.*.octants": octants, "voxel.*.cell": cell, "voxel.*.designs": cell, "voxel.*.model": cell_model, "voxel.*.data": lessons, "voxel.*.rng": lambda: np.random.default_rng(0), "voxel.*.start": lessons,
    "voxel.*.C": stiffness, "voxel.*.wanted": lambda: np.array([0.3, 0.1, 0.1, 0.4]), "voxel.*.properties": lambda: cell_constants(), "voxel.*.constants": lambda: cell_constants()[:, :3], "voxel.*.objective": lambda: "bulk", "voxel.*.free": lambda: lessons().free,
    "voxel.benchmark.target_lists.n": lambda: 4, "voxel.benchmark.*.lists": lambda: {"a": np.array([[0.3, 0.1, 0.1, 0.4]])}, "voxel.benchmark.save_lists.file": lambda: Path("lists.npz"), "voxel.benchmark.load_lists.file": lambda: voxel_lists(), "voxel.benchmark.far_targets.n": lambda: 2,
    "voxel.benchmark.polished.answer": lambda: answer, "voxel.benchmark.similarity.a": lambda: lessons().free[:2], "voxel.benchmark.similarity.b": lambda: lessons().free[:3], "voxel.benchmark.judge.octants": lambda: octants()[:, None], "voxel.benchmark.judge.targets": lambda: cell_constants(),
    "voxel.benchmark.table.answers": lambda: {"a": answer}, "voxel.benchmark.table.few": lambda: 1, "voxel.benchmark.leaderboard.rows": lambda: [],
    "voxel.data.*.path": lambda: Path("a voxel set"), "voxel.data.tensor_error.target": lambda: cell_constants()[:, :3], "voxel.data.*.cells": lambda: voxel_cells(), "voxel.data.make_shard.stage_steps": lambda: 1, "voxel.data.make_shard.sharpness": lambda: (1.0,),
    "voxel.design.unfold.octant": lambda: octants()[0], "voxel.design.symmetrise.octant": lambda: octants()[0], "voxel.design.shape_similarity.a": octants, "voxel.design.shape_similarity.b": octants, "voxel.design.unpack.packed": lambda: packed(), "voxel.design.*.voxels": lambda: 8,
    "voxel.design.family.name": lambda: "schwarz_p", "voxel.design.export_mesh.path": lambda: Path("cell.stl"), "voxel.design.import_cells.folder": lambda: Path("a folder"), "voxel.design.plot_cell.ax": axes3,
    "voxel.exchange.read_mesh_cell.path": stl, "voxel.exchange.read_mesh_cell.n": lambda: 8, "voxel.exchange.read_grid_cell.path": lambda: grid_file(), "voxel.exchange.write_inp.path": lambda: Path("cell.inp"), "voxel.explore.draw_optimisation.optimum": lambda: optimum(),
    "voxel.explore.draw_found.found": lambda: voxel_found(), "voxel.families.cut.values": lambda: np.linspace(0, 1, 120), "voxel.families.cut.share": lambda: 0.3, "voxel.families.*.parents": lambda: parents(), "voxel.families.random_cells.parents": lambda: None, "voxel.families.*.kind": lambda: "waves",
    "voxel.inverse.constants_of.target": lambda: cell_constants()[0, :3], "voxel.inverse.check_bounds.constants": lambda: cell_constants()[0, :3], "voxel.inverse.enlarge.octant": lambda: 16, "voxel.inverse.polish.octant": lambda: octants()[0], "voxel.inverse.polish.rounds": lambda: 1,
    "voxel.inverse.draw_sound.n_steps": lambda: 2, "voxel.inverse.design_for.target": lambda: cell_constants()[0, :3], "voxel.inverse.load_model.octant": lambda: 16,
    "voxel.mechanics.conjugate_gradients.times": lambda: lambda u: u, "voxel.mechanics.conjugate_gradients.precondition": lambda: lambda u: u, "voxel.mechanics.*.b": lambda: torch.ones(2, 3, dtype=torch.float64), "voxel.mechanics.*.limit": lambda: torch.full((2,), 1e-3, dtype=torch.float64),
    "voxel.mechanics.stiffness_of.constants": lambda: torch.ones(2, 3), "voxel.mechanics.solve.E": lambda: torch.ones(1, 4, 4, 4, dtype=torch.float64), "voxel.mechanics.solve.symmetry": lambda: "cubic", "voxel.mechanics.symmetry_of.design": lambda: torch.ones(4, 4, 4),
    "voxel.model.OctantNetwork.octant": lambda: 16, "voxel.model.OctantNetwork.widths": lambda: (4, 8), "voxel.model.OctantNetwork.attention": lambda: (False, False), "voxel.model.Told.width": lambda: 8, "voxel.model.WedgeNetwork.width": lambda: 8, "voxel.model.WedgeNetwork.blocks": lambda: 1,
    "voxel.model.WedgeNetwork.embedding": lambda: 8, "voxel.model.generate.n_steps": lambda: 2, "voxel.model.refresh.n_steps": lambda: 2, "voxel.model.denoising.n_steps": lambda: 2,
    "voxel.objectives.reach.target": stiffness, "voxel.objectives.filter_matrix.radius": lambda: 2.0, "voxel.objectives.project.x": lambda: np.linspace(0, 1, 8), "voxel.objectives.project.sharpness": lambda: 2.0, "voxel.objectives.threshold.density": lambda: octants()[0].astype(float),
    "voxel.operators.affine.case": lambda: 0, "voxel.operators.parity.case": lambda: 0, "voxel.operators.stiffness_times.E": lambda: torch.ones(1, 4, 4, 4, dtype=torch.float64), "voxel.operators.stiffness_times.u": lambda: torch.ones(1, 3, 5, 5, 5, dtype=torch.float64),
    "voxel.operators.stiffness_times.k": lambda: torch.eye(24, dtype=torch.float64), "voxel.operators.stencil.theta": lambda: [torch.full((1,), 0.5, dtype=torch.float64)] * 3, "voxel.operators.*.E": lambda: torch.ones(1, 4, 4, 4, dtype=torch.float64), "voxel.operators.*.cases": lambda: [0],
    "voxel.operators.energies.domain": lambda: octant_domain(), "voxel.operators.energies.displacement": lambda: {0: torch.zeros(1, 3, 5, 5, 5, dtype=torch.float64)}, "voxel.operators.energies.pairs": lambda: [(0, 0)],
    "voxel.optimize.*.task": lambda: voxel_task(), "voxel.optimize.*.run": lambda: voxel_run(), "voxel.optimize.save_state.path": lambda: Path("state.npz"), "voxel.optimize.restore_state.path": lambda: voxel_state(), "voxel.train.*.name": lambda: "bits_16",
    "voxel.train.accuracy.targets": lambda: cell_constants(), "voxel.train.accuracy.n_candidates": lambda: 1, "voxel.train.*.result": lambda: fitted(), "voxel.train.lessons.sets": lambda: (voxel_cells(),),
    "voxel.optimize.optimize.octant": lambda: 4, "voxel.optimize.optimize_together.runs": lambda: [voxel_run()],
    "voxel.macro.cubic_times.u": lambda: torch.ones(1, 3, 4, 3, 3, dtype=torch.float64), "voxel.macro.element_energies.u": lambda: torch.ones(1, 3, 4, 3, 3, dtype=torch.float64), "voxel.macro.*.constants": lambda: block_constants(), "voxel.macro.element_energies.v": lambda: torch.ones(1, 3, 4, 3, 3, dtype=torch.float64),
    "voxel.macro.*.case": lambda: small_block(), "voxel.multiscale.*.case": lambda: small_block(), "voxel.macro.block.shape": lambda: (2, 2, 2), "voxel.macro.Case.fixed": lambda: small_block().fixed, "voxel.macro.Case.given": lambda: small_block().given,
    "voxel.macro.Case.force": lambda: small_block().force, "voxel.macro.Equilibrium.u": lambda: torch.ones(1, 3, 4, 3, 3, dtype=torch.float64), "voxel.macro.Equilibrium.iterations": lambda: torch.ones(1), "voxel.macro.Equilibrium.residual": lambda: torch.ones(1),
    "voxel.multiscale.log_moduli.constants": lambda: np.array([0.4, 0.15, 0.1]), "voxel.multiscale.from_log_moduli.x": lambda: np.zeros(3), "voxel.multiscale.Reach.points": lambda: np.zeros((2, 3)), "voxel.multiscale.Reach.volume": lambda: np.ones(2),
    "voxel.multiscale.reach_of.properties": lambda: lessons().properties, "voxel.multiscale.Body.constants": lambda: block_constants(), "voxel.multiscale.Body.designed": lambda: torch.ones(3, 2, 2, dtype=torch.bool),
    "voxel.multiscale.Body.objective": lambda: lambda u: (u**2).sum(), "voxel.multiscale.Designed.constants": lambda: block_constants(), "voxel.multiscale.Designed.x": lambda: np.zeros((1, 3)), "voxel.multiscale.Designed.groups": lambda: np.zeros(12, int),
    "voxel.multiscale.Designed.history": list, "voxel.multiscale.*.body": lambda: body(), "voxel.multiscale.*.reach": lambda: reach(), "voxel.multiscale.optimise.steps": lambda: 1, "voxel.multiscale.*.progress": lambda: False,
    "voxel.multiscale.gathered.x": lambda: np.eye(3), "voxel.multiscale.Candidates.octants": lambda: cell_candidates().octants, "voxel.multiscale.Candidates.properties": lambda: cell_candidates().properties, "voxel.multiscale.Candidates.error": lambda: np.zeros((1, 1)),
    "voxel.multiscale.Candidates.drawn": lambda: np.zeros((1, 1), bool), "voxel.multiscale.cells_for.constants": lambda: lessons().properties[:1, :3], "voxel.multiscale.cells_for.rounds": lambda: 1, "voxel.multiscale.*.data": lambda: lessons(),
    "voxel.multiscale.neighbours.labels": lambda: np.zeros((2, 1, 1), int), "voxel.multiscale.assembled.labels": lambda: np.zeros((2, 1, 1), int), "voxel.multiscale.joined.candidates": lambda: [octants()], "voxel.multiscale.joined.faces": lambda: np.ones((1, 1)),
    "voxel.extremes.*.constants": lambda: torch.as_tensor(cell_constants()[:, :3]), "voxel.extremes.*.octant": lambda: octants()[0], "voxel.extremes.climb.octant": lambda: 8, "voxel.extremes.plated.octant": lambda: 8, "voxel.extremes.plated_field.octant": lambda: 8,
    "voxel.extremes.*.goal": lambda: voxel_goal(), "voxel.extremes.improve.rounds": lambda: 1, "voxel.extremes.climb.effort": lambda: voxel_effort(), "voxel.extremes.compare_starts.effort": lambda: voxel_effort(), "voxel.extremes.compare_starts.rounds": lambda: 1,
    "voxel.extremes.compare_starts.starts": octants, "voxel.extremes.compare_starts.count": lambda: 1, "voxel.extremes.*.conditions": lambda: cell_constants(), "voxel.extremes.generated_starts.each": lambda: 1, "voxel.extremes.relatives.n_steps": lambda: 2, "voxel.extremes.relatives.each": lambda: 1,
    "voxel.extremes.*.extra": lambda: np.array([0, -0.4, -0.4, -0.4, -0.4, 0.01]), "voxel.extremes.tuned.start": lambda: np.array([0, -0.4, -0.4, -0.4, -0.4, 0.01]), "voxel.extremes.tuned.octant": lambda: 8, "voxel.extremes.tuned.steps": lambda: 1,
    "voxel.extremes.save_records.cells": lambda: {"one": octants()[0]}, "voxel.extremes.save_records.file": lambda: Path("records.npz"), "voxel.extremes.records.file": lambda: voxel_records(), "voxel.extremes.make_record.name": lambda: "bulk 0.6", "voxel.extremes.make_records.names": lambda: [],
    "voxel.extremes.make_record.octant": lambda: 8, "voxel.extremes.make_record.steps": lambda: 1, "voxel.extremes.Goal.worth": lambda: voxel_goal().worth, "voxel.extremes.Goal.objective": lambda: voxel_goal().objective,
    "voxel.gradation.to_noise.n_steps": lambda: 2, "voxel.gradation.from_noise.n_steps": lambda: 2, "voxel.gradation.sequence.n_steps": lambda: 2, "voxel.extremes.generated_starts.n_steps": lambda: 2, "voxel.gradation.*.noise": lambda: torch.zeros(2, 1, 120), "voxel.gradation.between.first": lambda: torch.zeros(1, 120), "voxel.gradation.between.last": lambda: torch.zeros(1, 120), "voxel.gradation.between.count": lambda: 2,
    "voxel.gradation.fit_regressor.epochs": lambda: 1, "voxel.gradation.fit_regressor.width": lambda: 4, "voxel.gradation.Graded.constants": lambda: cell_constants()[:, :3], "voxel.gradation.Graded.volume_fraction": lambda: np.ones(2), "voxel.gradation.Graded.bulk_share": lambda: np.ones(2),
    "voxel.gradation.Graded.sound": lambda: np.ones(2, bool), "voxel.gradation.Graded.open": lambda: np.ones(2, bool), "voxel.gradation.Graded.mismatch": lambda: np.zeros(1), "voxel.gradation.nested.field": lambda: np.linspace(0, 1, 120), "voxel.gradation.nested.shares": lambda: [0.3, 0.5],
    "voxel.gradation.longest_rise.values": lambda: [1.0, 2.0], "voxel.gradation.Guidance.regressor": lambda: torch.nn.Linear(120, 1),
    "voxel.cloak.*.N": lambda: 4, "voxel.cloak.bracket.N": lambda: 5, "voxel.cloak.cloak.surrounding": lambda: (0.4, 0.15, 0.1), "voxel.cloak.bracket.start": lambda: (0.4, 0.15, 0.1), "voxel.cloak.*.body": lambda: body(),
    "voxel.cloak.Cloak.reference": lambda: small_cloak().reference, "voxel.cloak.Cloak.weight": lambda: small_cloak().weight, "voxel.cloak.*.data": lambda: lessons(), "voxel.cloak.isotropic_cell.tolerance": lambda: 5.0, "voxel.cloak.filled.designed": lambda: designed(),
    "voxel.cloak.filled.candidates": lambda: cell_candidates(), "voxel.cloak.filled.surrounding": lambda: octants()[0], "voxel.cloak.filled.properties": lambda: cell_constants()[0], "voxel.cloak.Multiscale.free": lambda: designed(), "voxel.cloak.Multiscale.tied": lambda: designed(),
    "voxel.cloak.Multiscale.cells": lambda: filled_body(), **{f"voxel.cloak.Filled.{one}": (lambda one=one: getattr(filled_body(), one)) for one in ("labels", "octants", "properties", "error", "drawn", "constants", "meets", "met_before")},
    "voxel.cloak.*.task": lambda: small_cloak(), "voxel.cloak.mirrored.eighth": lambda: np.ones((2, 2, 2)), "voxel.cloak.draw_moved.constants": lambda: small_cloak().body.constants, "voxel.cloak.draw_moved.u": lambda: small_cloak().reference,
    "voxel.cloak.draw_moved.ax": lambda: axes(), "voxel.cloak.film.bodies": lambda: {"void": small_cloak().body.constants}, "voxel.cloak.film.path": lambda: Path("film.gif"), "voxel.cloak.film.frames": lambda: 2,
    "voxel.cloak.design_cells.surrounding": lambda: 0, "voxel.cloak.design_cells.preset": lambda: "test", "voxel.cloak.design_cells.reach": lambda: reach(), "voxel.cloak.design_cells.progress": lambda: False,
}
RECIPES |= {
    "voxel.exchange.*.cell": lambda: cell(), "voxel.inverse.polish.octant": lambda: octants()[0], "voxel.objectives.threshold.density": lambda: octants()[0].astype(float), "voxel.optimize.Optimum.octant": lambda: octants()[0],
    "voxel.data.families.n": lambda: 2, "voxel.data.families.octant": lambda: 4, "voxel.data.families.shard_size": lambda: 2, "voxel.data.dataset.n": lambda: 1, "voxel.data.dataset.octant": lambda: 4, "voxel.data.dataset.shard_size": lambda: 1,
    "voxel.data.dataset.stage_steps": lambda: 1, "voxel.data.dataset.progress": lambda: False, "voxel.data.families.progress": lambda: False, "voxel.train.data_for.n": lambda: 4,
}
RECIPES |= {
    "voxel.benchmark.in_hull.constants": lambda: lessons().properties[:, :3], "voxel.data.load.path": lambda: voxel_cells().dataset.path, "voxel.data.Cells.volume_fraction": lambda: np.ones(2), "voxel.optimize.Optimum.wanted": lambda: 0.3,
    "voxel.train.lessons.sets": lambda: (voxel_cells(), voxel_cells()), "voxel.train.accuracy.n_steps": lambda: 2, "voxel.cycles.make_perturbed.parents": lambda: perturbed_parents(),
    # cellular
    **{f"cellular.contact.{one}.{key}": (lambda value: lambda: torch.tensor(value))(value) for one in ("contact_forces",) for key, value in (("width", 16.0), ("distance", 0.1), ("friction", 0.4), ("stiffness", 1.0))},
    **{f"cellular.contact.{one}.{key}": lambda: ring()[1] for one in ("contact_forces", "transfers") for key in ("x", "velocity")}, **{f"cellular.contact.{one}.rub": lambda: torch.zeros(4) for one in ("contact_forces", "transfers")},
    **{f"cellular.contact.{one}.chain": lambda: (boundary().previous, boundary().following, boundary().inset) for one in ("contact_forces", "touched", "transfers")},
    "cellular.contact.touched.local": lambda: boundary().local, "cellular.contact.transfers.numbers": lambda: tuple(map(torch.tensor, (1.0, 0.4, 16.0, 0.1))),
    "cellular.data.dataset.n": lambda: 1, "cellular.data.dataset.quarter": lambda: 8,
    "cellular.*.design": lambda: pixels()[0], "cellular.*.designs": pixels, "cellular.*.quarters": quarters, "cellular.*.quarter": lambda: 8, "cellular.*.n": lambda: 2, "cellular.*.result": compressed, "cellular.*.data": lambda: responses(), "cellular.*.shape": lambda: (16, 16),
    "cellular.*.mesh": lambda: deck_mesh(), "cellular.*.batch": lambda: motion()[0], "cellular.*.plan": lambda: motion()[1], "cellular.*.boundary": lambda: boundary(), "cellular.*.material": lambda: material(), "cellular.*.mat": lambda: material(),
    "cellular.calculix.lattice_nodes.corners": lambda: np.stack(np.meshgrid(np.arange(3.0), np.arange(3.0)), -1), "cellular.calculix.*.amplitude": lambda: 0.02, "cellular.calculix.walls.void": lambda: ~pixels()[0], "cellular.calculix.numbered.values": lambda: np.ones((2, 3)),
    "cellular.calculix.set_lines.members": lambda: np.arange(3), "cellular.calculix.*.platens": lambda: "attached", "cellular.calculix.contact_lines.contact": lambda: [], "cellular.calculix.*.penalty": lambda: 1.0, "cellular.calculix.*.friction": lambda: 0.4,
    "cellular.calculix.write_deck.path": lambda: Path("deck.inp"), "cellular.calculix.oblique_blocks.angle": lambda: 30.0, "cellular.calculix.to_pixels.values": lambda: np.ones((1, len(deck_mesh().elements))), "cellular.calculix.fields_of.tables": dict, "cellular.calculix.fields_of.times": list,
    "cellular.calculix.reference_compress.max_strain": lambda: 0.01, "cellular.calculix.reference_compress.frames": lambda: (1.0,),
    "cellular.contact.gather_table.target": lambda: torch.tensor([0, 1, 1]), "cellular.contact.make_boundary.segments": lambda: ring()[0], "cellular.contact.make_boundary.x": lambda: ring()[1], "cellular.contact.make_boundary.design": lambda: torch.zeros(ring()[1].shape[1], dtype=torch.long),
    "cellular.contact.make_boundary.free": lambda: torch.ones(ring()[1].shape[1], dtype=torch.bool), "cellular.contact.*.width": lambda: 16.0, "cellular.contact.*.height": lambda: 16.0, "cellular.contact.*.distance": lambda: 0.1, "cellular.contact.list_candidates.x": lambda: ring()[1],
    "cellular.contact.*.candidates": lambda: candidates(), "cellular.contact.*.start": lambda: np.ones((1, 2)), "cellular.contact.*.end": lambda: np.full((1, 2), 3.0), "cellular.contact.*.force": lambda: np.ones(1), "cellular.contact.overlap.x": lambda: square()[0], "cellular.contact.overlap.conn": lambda: square()[1],
    "cellular.contact.overlap.seg": lambda: square()[2], "cellular.contact.overlap.width": lambda: 4.0,
    "cellular.curves.*.stress": lambda: np.linspace(0.0, 1.0, 5), "cellular.curves.nrmse.target": lambda: np.linspace(0.1, 1.0, 5), "cellular.curves.*.targets": lambda: curves(), "cellular.curves.*.curves": lambda: curves(), "cellular.curves.*.strain": lambda: np.array([0.0, 0.04, 0.1, 0.15, 0.2]),
    "cellular.curves.at_frames.frames": lambda: (0.05, 0.1), "cellular.curves.hard_targets.name": lambda: "softest", "cellular.curves.hard_targets.n": lambda: 1,
    "cellular.data.quantise.field": lambda: compressed().sigma22, "cellular.data.quantise.solid": pixels, "cellular.data.restore.differences": lambda: np.zeros((2, 2, 256), np.uint8), "cellular.data.restore.limits": lambda: np.zeros((2, 2, 2), np.float32), "cellular.data.restore.solid": pixels,
    "cellular.data.load.source": lambda: responses().dataset.path, "cellular.data.Reporting.executor": lambda: SimpleNamespace(submit=None), "cellular.design.fields_from_noise.noise": lambda: np.ones((8, 8), complex), "cellular.design.random_fields.quarter": lambda: 8, "cellular.design.random_designs.quarter": lambda: 8,
    **{f"cellular.element.{one}.X": lambda: torch.tensor([[[0.0], [1], [1], [0]], [[0.0], [0], [1], [1]]], dtype=torch.float64) for one in ("shape_constants", "reference")},
    "cellular.material.*.plastic_strain": lambda: (0.0, 0.1), "cellular.material.*.yield_stress": lambda: (10.0, 12.0), "cellular.material.homogeneous_block.strain": lambda: 0.1, "cellular.material.homogeneous_block.steps": lambda: 4,
    "cellular.material.Material.plastic_strain": lambda: (0.0, 0.1), "cellular.material.Material.yield_stress": lambda: (10.0, 12.0),
    "cellular.mechanics.compress.frames": lambda: (1.0,), "cellular.motion.Batch.meshes": lambda: [mesh()], "cellular.motion.Batch.loading": lambda: settings_of("Loading"), "cellular.motion.Batch.marching": lambda: settings_of("Marching"),
    "cellular.motion.*.u": lambda: torch.zeros_like(motion_x()), "cellular.plotting.deformed_pixels.u1": lambda: compressed().u1[0, -1], "cellular.plotting.deformed_pixels.u2": lambda: compressed().u2[0, -1], "cellular.plotting.*.row": lambda: 0, "cellular.plotting.animate.path": lambda: Path("film.gif"),
    "cellular.result.*.out": dict, "cellular.result.*.exempt": lambda: 1, "cellular.settings.merged.settings": lambda: (settings_of("Loading"),), "cellular.settings.merged.changes": lambda: {"friction": 0.3}, "cellular.linear_response.batch": lambda: 2, "cellular.elastic.linear_response.batch": lambda: 2,
}
RECIPES |= {
    # the newer rooms of core, voxel and cellular
    "core.bits.DenseNetwork.told": lambda: torch.nn.Linear(2, 2), "core.bits.DenseNetwork.width": lambda: 8, "core.bits.DenseNetwork.embedding": lambda: 8,
    "core.bits.bit_loss.model": lambda: bit_model(), "core.bits.bit_loss.x0": lambda: torch.ones(2, 1, 144), "core.bits.bit_loss.condition": lambda: torch.ones(2, 11),
    "cellular.contact.contact_forces.rub": lambda: torch.zeros(len(candidates().node)), "cellular.contact.transfers.rub": lambda: torch.zeros(len(candidates().node)),
    "cellular.films.drawn_film.fields": lambda: np.ones((3, len(catalogue().strain), 8, 8)), "cellular.films.draw_pair.target": lambda: film().stress[0], "cellular.films.draw_pair.drawn": lambda: film(), "cellular.films.draw_pair.verified": lambda: film(),
    **{f"cellular.generator.{one}.n_steps": lambda: 2 for one in ("generate", "refresh", "draw_valid")}, "cellular.motion.*.parts": lambda: motion()[0].parts, "cellular.motion.nodal_masses.ceiling": lambda: torch.full((len(mesh().X),), 16.0), "cellular.motion.nodal_masses.candidates": lambda: None,
    "cellular.motion.nodal_masses.bound": lambda: bound(), "cellular.motion.at_end.means": lambda: torch.ones(3, 2, dtype=torch.float64), "cellular.motion.at_end.x": lambda: np.arange(6.0).reshape(3, 2), "cellular.motion.at_end.window": lambda: np.array([2, 2]),
    **{f"cellular.result.{one}.out": lambda: {key: np.ones((2, 3)) for key in ("kinetic", "elastic", "plastic", "artificial", "contact", "damping", "friction", "work", "top", "bottom", "penetration", "snapped")} for one in ("broken_rules", "badness")},
    "core.elasticity.youngs_modulus.direction": lambda: np.array([[1.0, 0, 0]]), "core.plotting.save_gif.path": lambda: Path("a.gif"), "core.plotting.save_gif.figures": lambda: [axes().figure], "core.recipes.check_command.recipes": lambda: {"one": None}, "core.batch.copy_notebook.name": lambda: "truss", "core.store.shipped.name": lambda: "voxel_32_n3210_seed0",
    **{f"core.{one}.notebook": lambda: first_notebook() for one in ("batch.notebook_parameters", "batch.usual_seconds", "runs.usual_time")}, "core.store.missing.call": lambda: never_computed,
    "core.video.level_shapes.network": lambda: video_model(), "kirigami.benchmark.score.generate": lambda: lambda n, seed, beta_max: cells()[:n], "kirigami.benchmark.score.heldout": lambda: cells()[50:], "kirigami.benchmark.score.data": lambda: kirigami_set().designs,
    **{f"kirigami.benchmark.{one}.numbers": lambda: dict.fromkeys(("nearest_heldout", "nearest_generated", "admissible_share", "admissible_within_share", "tv_ratio"), 1.0) for one in ("measured", "solved")},
    "kirigami.metrics.evaluate.generated": lambda: cells()[:50], "kirigami.metrics.evaluate.data": lambda: kirigami_set().designs, "kirigami.metrics.evaluate.heldout": lambda: cells()[50:], "truss.train.build.name": lambda: "affine",
    **{f"kirigami.jump.{one}.**": lambda: {"candidates": 4, "sharpness": 10.0} for one in ("reverse", "redraw")},
    **{f"truss.struts.match_struts.{key}": (lambda value: lambda: value)(value) for key, value in (("n_candidates", 4), ("n_polished", 1), ("keep", 1), ("iterations", 1))}, "truss.struts.refine_struts.iterations": lambda: 1, "truss.struts.thickened.factors": lambda: np.ones((2, len(truss_graph().struts))),
    "truss.solid.solid_stiffness.solid": lambda: np.ones((4, 4, 4), bool),
    "voxel.optimize.Optimum.objective": lambda: 0.5, "core.tables.column_names.path": lambda: table(), "voxel.train.accuracy.n_steps": lambda: 2,
    "core.video.VideoLevel.padding": lambda: ("zeros", "circular"), "core.video.VideoLevel.attention": lambda: "none", "core.video.VideoUNet.widths": lambda: (4, 8), "core.video.VideoUNet.head_width": lambda: 4, "core.video.VideoUNet.token": lambda: 4, "core.video.VideoUNet.heads": lambda: 2,
    "voxel.auxetic.*.octant": lambda: 4, "voxel.auxetic.node_filter.radius": lambda: 1.5, "voxel.auxetic.union.y": lambda: np.full((2, corners().shape[1]), 0.3), "voxel.auxetic.union.softness": lambda: 2.0, "voxel.auxetic.union.corners": lambda: corners(),
    "voxel.auxetic.*.constants": lambda: torch.tensor([1.0, 0.3, 0.3]), "voxel.auxetic.scaleless.C": lambda: torch.tensor([1.0, 0.3, 0.3]), "voxel.auxetic.*.count": lambda: 2, "voxel.auxetic.GreyUnions.densities": lambda: np.full((1, 4, 4, 4), 0.4),
    "voxel.auxetic.grey_step.run": lambda: __import__("copy").deepcopy(grey()), "voxel.auxetic.best_level.run": grey, "voxel.auxetic.best_level.i": lambda: 0, "voxel.auxetic.*.run": lambda: auxetic_run(), "voxel.auxetic.auxetic_take.state": lambda: __import__("metanb.voxel.auxetic", fromlist=["x"]).auxetic_state(auxetic_run()),
    "voxel.auxetic.BlockSearch.octant": lambda: octants()[0], "voxel.auxetic.BlockSearch.seed": lambda: (0,), "core.batch.execute.folder": lambda: "a folder", "core.runs.export_command.path": lambda: "a set", "voxel.auxetic.flaws.octant": lambda: octants()[0], "voxel.auxetic.merit.floor": lambda: 6e-3, "voxel.auxetic.AuxeticSearch.effort": lambda: auxetic_run().effort,
    "cellular.*.cells": lambda: catalogue(), "cellular.*.catalogue": lambda: catalogue(), "cellular.*.network": lambda: forward_network(), "cellular.*.known": lambda: known(), "cellular.*.drawn": lambda: film(), "cellular.*.verified": lambda: film(), "cellular.benchmark.judged.known": lambda: [known()],
    **{f"cellular.{module}.*.{key}": (lambda value: lambda: value())(value) for module in ("forward", "inverse", "lessons", "generator", "cycles") for key, value in (("quarters", dozen), ("others", dozen), ("quarter", lambda: dozen()[0]), ("curves", lambda: catalogue().stress[:2]), ("target", lambda: catalogue().stress[0]), ("targets", lambda: catalogue().stress[:1]), ("file", lambda: Path("some.npz")))},
    "cellular.benchmark.target_lists.data": lambda: cell_lessons(), "cellular.benchmark.target_lists.strain": lambda: catalogue().strain, "cellular.benchmark.target_lists.n_hard": lambda: 1, "cellular.benchmark.*.file": lambda: Path("lists.npz"), "cellular.benchmark.load_lists.file": lambda: cell_lists(),
    "cellular.benchmark.*.lists": lambda: {"a": np.ones((1, 11))}, "cellular.benchmark.leaderboard.methods": lambda: {"a": answered}, "cellular.benchmark.*.first": lambda: answered, "cellular.benchmark.*.propose": lambda: proposed,
    "cellular.cycles.rarity.known": lambda: catalogue().stress[:3], "cellular.cycles.rarest.known": lambda: catalogue().stress[:3], "cellular.cycles.sought_quarters.n_drawn": lambda: 4, "cellular.cycles.reach.lists": lambda: {"a": catalogue().stress[:1]},
    "cellular.films.*.videos": lambda: videos(), "cellular.films.*.row": lambda: 0, "cellular.films.*.strain": lambda: catalogue().strain, "cellular.films.draw_films.frames": lambda: (0, 1), "cellular.films.animate_films.path": lambda: Path("film.gif"),
    "cellular.forward.relative_distance.found": lambda: torch.ones(2, 3), "cellular.forward.relative_distance.target": lambda: torch.ones(2, 3), "cellular.forward.to_quarters.designs": pixels, "cellular.forward.CurveNetwork.widths": lambda: (8, 8, 8), "cellular.forward.CurveNetwork.hidden": lambda: 8,
    "cellular.generator.*.model": lambda: bit_model(), "cellular.generator.*.n_steps": lambda: 2, "cellular.generator.CurveDiffusion.width": lambda: 16, "cellular.generator.CurveDiffusion.blocks": lambda: 1, "cellular.generator.CurveDiffusion.embedding": lambda: 8,
    "cellular.inverse.children.n_children": lambda: 2, "cellular.inverse.promising.effort": lambda: __import__("metanb.cellular.inverse", fromlist=["x"]).Effort(parents=1, generations=1, n_children=4, survivors=1), "cellular.inverse.polish.known": lambda: [known()], "cellular.inverse.proposer.model": lambda: bit_model(),
    "cellular.inverse.verify_into.known": lambda: [known()], "cellular.inverse.verify_into.proposed": lambda: [dozen()], "cellular.inverse.verify_into.origin": lambda: 0, "cellular.inverse.Known.target": lambda: catalogue().stress[0].astype(float), "cellular.inverse.different.keep": lambda: 1,
    "cellular.lessons.joined.catalogues": lambda: (catalogue(),), "cellular.lessons.load_catalogue.file": lambda: catalogue_file(), "cellular.lessons.told_designs.n": lambda: 4, "cellular.lessons.catalogue_of.data": lambda: responses(), "cellular.lessons.Lessons.learned": lambda: catalogue(), "cellular.lessons.Lessons.heldout": lambda: catalogue(),
    "cellular.model.films.data": lambda: responses(), "cellular.model.films.rows": lambda: slice(0, 1), "cellular.model.read_quarters.u2": lambda: np.random.default_rng(0).random((1, 2, 8, 8)), **{f"cellular.model.{one}.fields": lambda: torch.rand(1, 3, 2, 8, 8) for one in ("mirror_films", "mirror_half", "read_films")}, "cellular.model.mirror_half.curves": lambda: torch.ones(1, 2),
    "cellular.model.FilmNetwork.pixels": lambda: 8, "cellular.model.FilmNetwork.n_frames": lambda: 2, "cellular.model.VideoDiffusion.pixels": lambda: 24, "cellular.model.generate.model": lambda: video_model(), "cellular.model.generate.curves": lambda: catalogue().stress[:1], "cellular.model.generate.n_steps": lambda: 2,
    "cellular.train.*.data": lambda: cell_lessons(), "cellular.train.train_video.data": lambda: responses(), "cellular.train.build.name": lambda: "forward_24", "cellular.train.build.preset": lambda: "test", "cellular.train.*.result": lambda: trained_curves(), "cellular.train.generator_accuracy.model": lambda: bit_model(), "cellular.train.film_accuracy.model": lambda: video_model(),
    "cellular.target.target_explorer.cells": lambda: catalogue(), "core.runs.picture.path": lambda: picture(),
}
INNER = {  # not asked
    "truss.forward.ExactLinear",  # its constructor is that of torch.nn.Linear
    *(f"cellular.contact.{one}" for one in ("Candidates",)), *(f"cellular.motion.{one}" for one in ("Parts", "Moving", "Still", "Kernel", "Step")),  # tuples of a compiled step
    "core.device.pick_device", "core.device.device_kind",  # call their argument "device", as their callers do
    *(f"core.signatures.{one}" for one in ("short_type", "short_signature", "comments_of", "Documented", "described", "lazy")),  # read functions for `help`, before the front door is there
    *(f"core.notebooks.{one}" for one in ("stripped", "packed_notebooks", "standing_alone")),  # read by setup.py before the package is there
    "core.printing.PrintCheck", "cellular.benchmark.Judged",  # hold NaN where nothing could be measured
    "core.widgets.Stopped", "core.widgets.Work", "cellular.target.CurvePad", "cellular.explore.PixelPad", "core.bits.BitNetwork",  # whose constructors are not of this package
    *(f"core.checks.{one}" for one in ("shown", "refused", "warn", "whole", "number", "choice", "native", "shaped", "tensor", "alike", "solid_or_void", "checked")),  # what refusals are made of
}
LONG = {  # start processes, or take longer than a test of arguments may: asked with what their annotations forbid, which is refused before they begin, never with legal arguments
    *(f"core.batch.{one}" for one in ("execute", "start", "stop", "close", "run_batch", "stop_with_parent", "report", "cells_done", "run_notebooks", "check_folder", "plan")),
    *(f"core.runs.{one}" for one in ("main", "run_command", "list_command", "summary_command", "export_command", "copy_command", "app_command", "section", "overview")), "core.workers.workers", "core.workers.processes", "core.apps.serve", "core.apps.app_server",
    "cellular.calculix.reference_compress", "core.calculix.run_ccx", "cellular.data.make_shard", "cellular.data.dataset", "cellular.data.initial_data", "cellular.explore.compress_live", "cellular.mechanics.compress", "voxel.cycles.learn_in_cycles", "kirigami.data.initial_data", "kirigami.data.dataset", "truss.data.initial_data", "cellular.motion.march", "core.recipes.train_and_save",
    "cellular.inverse.verify", "cellular.inverse.verify_into", "cellular.inverse.polish", "cellular.inverse.design_for", "cellular.cycles.enlarge", "cellular.target.draw_found", "cellular.target.target_explorer", "voxel.auxetic.AuxeticSearch", "voxel.auxetic.BlockSearch", "voxel.auxetic.search_step",
    *(f"cellular.train.{one}" for one in ("train_forward", "train_bits", "train_video", "forward_accuracy", "generator_accuracy", "film_accuracy", "make_card")),
    *(f"{one}.command" for one in ("kirigami.benchmark", "kirigami.data", "kirigami.train", "truss.data", "truss.train", "voxel.benchmark", "voxel.cycles", "voxel.data", "voxel.train", "cellular.data", "cellular.train", "cellular.cycles")),
}
LEGAL = {  # (function.argument, kind): why it is legal all the same, or why the answer holds NaN
    **{(where, kind): "NaN stands for a frame that was not reached" for where in ("cellular.data.quantise.field", "cellular.data.restore.limits", "cellular.curves.nrmse.stress") for kind in ("array of NaN", "array of inf")},
    **{(where, kind): "losses and steps of a network are asked at each step, on any device; a training stops at a loss that is NaN" for where in ("core.bits.bit_loss.x0", "core.bits.bit_loss.condition", "core.diffusion.sample_ddpm.x", "core.diffusion.sample_ddim.x", "core.schedules.x0_from_eps.x", "core.schedules.x0_from_eps.eps", "core.schedules.x0_from_eps.alpha_bar", "core.schedules.eps_from_x0.x", "core.schedules.eps_from_x0.x0", "core.schedules.eps_from_x0.alpha_bar", "core.schedules.add_noise.x0", "core.schedules.add_noise.noise", "core.schedules.add_noise.alpha_bar", "cellular.forward.relative_distance.found", "cellular.forward.relative_distance.target", "core.diffusion.drop_condition.condition") for kind in ("array of NaN", "array of inf")},
    **{(where, "array of NaN"): "moves numbers, and does not look at them" for where in ("core.elasticity.reorder.C", "voxel.cloak.mirrored.eighth")},
}
OPEN = {tuple(line.split(": ")) for line in (Path(__file__).parent / "data" / "open_arguments.txt").read_text().splitlines()}  # (function.argument, kind) whose answer is not yet clear: not counted as asserted


def further(name):
    "Legal values of what stands for `**options`."
    return RECIPES.get(f"{name}.**", dict)()


def recipe(name, key, accepted, *, required):
    "A legal value of an argument, or EMPTY to leave it at its default."
    module, space = name.rpartition(".")[0], name.split(".")[0]
    exact = RECIPES.get(f"{name}.{key}")
    if exact is not None:
        return exact()
    if not required:
        return EMPTY
    for where in (f"{module}.*.{key}", f"{space}.*.{key}", f"*.{key}"):
        if where in RECIPES:
            return RECIPES[where]()
    for kind, value in GENERIC.items():
        if kind in accepted:
            return value()
    return EMPTY


GENERIC = {"none": lambda: None, "whole": lambda: 2, "real": lambda: 0.5, "truth": lambda: True, "text": lambda: "name", "path": lambda: Path("a path"),
           "numbers": lambda: np.linspace(0.1, 0.9, 6).reshape(2, 3), "number": lambda: 0.5, "mapping": dict, "several": tuple, "function": lambda: abs,
           "object": SimpleNamespace, "bytes": lambda: b"bytes", "any": lambda: None}
