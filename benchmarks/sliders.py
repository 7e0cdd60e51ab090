"""CPU seconds of one move of every slider, menu and checkbox of the apps, in this process and without a page.

    python benchmarks/sliders.py [SPACE ...]

Each control is moved there and back three times; median and largest are printed. What an app does beside the page (`core.widgets.Work`) is not in it.

Measured on one of two cores, median of the slowest slider in each space: kirigami 0.09 (angles of the pair), truss 0.025 (largest pore), voxel 0.01, cellular 0.055; the menu of colours of a compressed cell 0.13.
The largest of six moves is up to three times that, where a collection of garbage falls into it.
"""

import argparse
import time
import warnings

import ipywidgets as widgets

KINDS = (widgets.IntSlider, widgets.FloatSlider, widgets.Dropdown, widgets.Checkbox)


def controls(box):
    "All of an app."
    found = [box] if isinstance(box, KINDS) else []
    return found + [control for child in getattr(box, "children", ()) for control in controls(child)]


def other(control):
    "Another value of it."
    if isinstance(control, widgets.Dropdown):
        return next((value for _, value in control._options_full if value != control.value), control.value)
    if isinstance(control, widgets.Checkbox):
        return not control.value
    up = control.value + control.step
    return up if up <= control.max else control.value - control.step


def moves(control):
    "CPU seconds of moves there and back."
    here, there, times = control.value, other(control), []
    for value in 3 * (there, here):
        begin = time.process_time()
        control.value = value
        times.append(time.process_time() - begin)
    return sorted(times)


def apps(space):
    "Name -> app."
    if space == "kirigami":
        from metanb.kirigami.explore import cut_explorer, generator_explorer, pair_explorer, rotation_explorer

        return {"pair": pair_explorer(), "cut": cut_explorer(), "rotation": rotation_explorer(), "generator": generator_explorer()}
    if space == "truss":
        from metanb.truss.explore import explore, target_explorer

        return {"explore": explore(), "target": target_explorer()}
    if space == "voxel":
        from metanb.voxel.explore import family_explorer, optimiser_explorer, target_explorer

        return {"families": family_explorer(), "optimiser": optimiser_explorer(), "target": target_explorer()}
    from metanb.cellular.data import initial_data
    from metanb.cellular.explore import explore
    from metanb.cellular.plotting import stored_result
    from metanb.cellular.target import target_explorer

    compressed = explore().app
    compressed.film.show(*stored_result(initial_data("demo"), 1))
    return {"explore": explore(), "film": widgets.VBox([compressed.film.frame, compressed.film.field, compressed.film.copies]), "target": target_explorer()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spaces", nargs="*", default=["kirigami", "truss", "voxel", "cellular"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for space in options.spaces:
        for name, app in apps(space).items():
            for control in controls(app):
                times = moves(control)
                print(f"{space:9} {name:10} {control.description:22} median {times[3]:.3f}  largest {times[-1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
