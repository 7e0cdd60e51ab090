"Trusses of superposed lattices: the names that one needs first; every room is a module of its own."
from metanb.core.signatures import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {
    "random_designs": "design",
    "effective_stiffness": "mechanics",
    "initial_data": "data",
    "design_for": "inverse", "bones": "inverse",
    "smallest_diameter": "criteria",
    "export_truss": "export",
    "plot_cell": "plotting",
    "target_explorer": "explore",
})
