"Sheets with periodic straight cuts: the names that one needs first; every room is a module of its own."
from metanb.core.signatures import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {
    "admissible_designs": "design", "random_designs": "design", "count_intersections": "design",
    "plot_cell": "design", "export_svg": "design", "export_dxf": "design",
    "initial_data": "data",
    "leaderboard": "benchmark",
    "generator_explorer": "explore",
})
