"Cells compressed to 20 %: the names that one needs first; every room is a module of its own."
from metanb.core.signatures import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {
    "random_designs": "design", "plot_cell": "design",
    "compress": "mechanics",
    "initial_data": "data",
    "design_for": "inverse",
    "draw_result": "plotting", "animate": "plotting",
    "target_explorer": "target",
})
