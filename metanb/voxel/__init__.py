"Cells of solid and void on a grid: the names that one needs first; every room is a module of its own."
from metanb.core.signatures import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {
    "family": "design", "random_designs": "design", "unfold": "design", "export_mesh": "design", "plot_cell": "design",
    "homogenize": "mechanics",
    "initial_data": "data",
    "design_for": "inverse",
    "target_explorer": "explore",
})
