"Batches from the command line: what ends well, fails, is killed, resumed or refused. The notebooks are small and made here."
import base64
import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

import metanb
from metanb.core import batch, plans
from metanb.core.batch import environment, find_notebooks, notebooks_folder, place_of, plan, run_notebooks, runs_folder
from metanb.core.files import data_root, read_json, write_json
from metanb.core.runs import command_line, main

PARAMETERS = 'preset = "test"  # size\nseed = 0\ndevice = "auto"\nout = "."\nn = 3  # how many\nscale = 1.0  # in (0, 5]: of the line\nmodel = "ddpm"'
GOOD = """
import json, os
from pathlib import Path
import matplotlib.pyplot as plt
from metanb.core.metrics import show_metrics, write_metrics
from metanb.core.plotting import save_figure
""", """
fig, ax = plt.subplots()
ax.plot(range(n))
save_figure(fig, out, "line")
rows = [{"quantity": "number of things", "paper": 5, "ours": n, "target": "5", "ok": n == 5}]
write_metrics(out, rows)
facts = {"preset": preset, "device": device, "n": n, "model": model, "cwd": os.getcwd(), "threads": os.environ["OMP_NUM_THREADS"],
         "in_test": os.environ.get("IN_TEST")}
Path(out, "facts.json").write_text(json.dumps(facts))
show_metrics(rows, strict=False)
"""
SLOW = """
import os, time
from pathlib import Path
Path(out, "half.txt").write_text(str(os.getpid()))
time.sleep(600)
"""


def make(path, *sources, tag="parameters", title="A notebook"):
    "Write a notebook with a parameters cell and these code cells; cell ids stay the same when it is written again."
    cells = [nbformat.v4.new_markdown_cell(f"# {title}"), nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": [tag]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def files(folder):
    "Every file below a folder with its content."
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def process(*arguments, cwd, **environment):
    "Start the command line in a process of its own."
    ears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # pytest in the background is deaf to SIGINT
    program = ears + "from metanb.core.runs import main; main()"
    return subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=cwd, env=os.environ | environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def states(run):
    "Notebook -> status of a run."
    found = [json.loads(path.read_text()) for path in run.glob("*/*/state.json")]
    return {state["notebook"]: state["status"] for state in found}


def is_alive(pid):
    "Whether a process still runs; a zombie does not."
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, what, patience=300):
    "Wait until a condition holds."
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


@pytest.fixture
def project(tmp_path, monkeypatch):
    "A project with one good figure notebook; we stand in it."
    make(tmp_path / "nbs/figures/toy_fig01_good.ipynb", *GOOD, title="Figure 1: things")
    (tmp_path / "settings.ini").write_text("[DEFAULT]\nlib_name = metanb\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("METANB_NBS", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    "One batch in which things go wrong, and its resumption after the mending: what was printed and left at each stage."
    root = tmp_path_factory.mktemp("story")
    (root / "settings.ini").write_text("lib_name=metanb")
    nbs = root / "nbs"
    make(nbs / "figures/toy_fig01_good.ipynb", *GOOD, title="Figure 1: <things>")
    make(nbs / "figures/toy_fig02_bad.ipynb", "before = 1", "share = before / (n - 5)")
    make(nbs / "figures/toy_fig03_killed.ipynb", "import os, signal", "os.kill(os.getppid(), signal.SIGKILL)")
    make(nbs / "tutorials/toy.ipynb", "print('fine')", title="Toys")
    sources = files(nbs)
    first = process("run", "toy", "--jobs", "2", "-p", "n=5", "-p", "model=vae", "--out", "first", cwd=root / "nbs", OMP_NUM_THREADS="4", IN_TEST="0")
    printed = first.communicate()
    told = {"root": root, "run": root / "runs/first", "code": first.returncode, "printed": printed[0], "errors": printed[1],
            "sources": (sources, files(nbs)), "states": states(root / "runs/first"), "files": files(root / "runs/first")}
    make(nbs / "figures/toy_fig02_bad.ipynb", "before = 1", "share = before / (n + 5)")
    make(nbs / "figures/toy_fig03_killed.ipynb", "import os, signal")
    second = process("run", "--resume", cwd=root, OMP_NUM_THREADS="1")
    told |= {"resumed": second.communicate(), "resumed_code": second.returncode}
    told |= {"resumed_states": states(root / "runs/first"), "resumed_files": files(root / "runs/first")}
    return told


def test_a_failing_notebook_stops_nobody(story):
    assert story["states"] == {"figures/toy_fig01_good": "done", "figures/toy_fig02_bad": "failed", "figures/toy_fig03_killed": "failed",
                               "tutorials/toy": "done"}
    assert story["code"] == 1
    assert "2 of 4 notebooks done" in story["printed"]


def test_the_failing_cell_is_shown(story):
    assert "ZeroDivisionError" in story["errors"] and "share = before / (n - 5)" in story["errors"]
    assert "ended with code -9" in story["errors"]
    assert "\x1b" not in story["errors"]  # plain text, so that a log can be read


def test_sources_are_never_written(story):
    before, after = story["sources"]
    assert before == after


def test_a_notebook_gets_what_the_run_sets(story):
    folder = story["run"] / "figures/toy_fig01_good"
    facts = json.loads((folder / "facts.json").read_text())
    assert facts == {"preset": "test", "device": "auto", "n": 5, "model": "vae", "cwd": str(story["root"] / "nbs/figures"),
                     "threads": "2", "in_test": "1"}  # four threads shared by two notebooks
    assert {path.name for path in folder.iterdir()} >= {"line.png", "line.svg", "metrics.json", "state.json", "toy_fig01_good.ipynb"}


def test_resume_runs_only_what_is_missing(story):
    assert story["resumed_code"] == 0, story["resumed"]
    started = re.findall(r"^start\s+(\S+)", story["resumed"][0], flags=re.M)
    assert started == ["figures/toy_fig02_bad", "figures/toy_fig03_killed"]
    assert set(story["resumed_states"].values()) == {"done"}
    kept = [name for name in story["files"] if name.startswith(("figures/toy_fig01", "tutorials"))]
    assert kept and all(story["files"][name] == story["resumed_files"][name] for name in kept)


def test_resume_keeps_the_settings_of_the_run(story):
    notebook = json.loads(story["resumed_files"]["figures/toy_fig02_bad/toy_fig02_bad.ipynb"])
    injected = next(cell for cell in notebook["cells"] if "injected-parameters" in cell["metadata"].get("tags", []))
    assert "n = 5" in "".join(injected["source"])


def test_summary_holds_every_table_and_figure(story, monkeypatch, capsys):
    monkeypatch.chdir(story["root"])
    with pytest.raises(SystemExit) as stop:
        main(["summary", "first"])
    assert stop.value.code in (0, None)
    printed = capsys.readouterr().out
    assert re.search(r"number of things\s+5\s+5\s+5\s+yes", printed)
    page = (story["run"] / "summary.html").read_text()
    pictures = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert pictures == [(story["run"] / "figures/toy_fig01_good/line.png").read_bytes()]
    assert "Figure 1: &lt;things&gt;" in page and "number of things" in page
    assert not re.search(r'(src|href)="(?!data:|#|\w+/\w+/\w+\.ipynb")', page)  # nothing outside the file is needed; links lead to the notebooks beside it
    assert "no results" in page and "device = &#x27;auto&#x27;" in page and f"metanb {metanb.__version__}" in page


def test_list_tells_of_the_last_run(story, monkeypatch, capsys):
    monkeypatch.chdir(story["root"])
    with pytest.raises(SystemExit):
        main(["list"])
    printed = capsys.readouterr().out
    assert re.search(r"figures/toy_fig01_good\s+done at test\s+Figure 1: <things>", printed)
    assert "test, demo, paper" in printed and f"last run: {story['run']}" in printed


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see whether the kernel is gone")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_at_work(project, how):
    "Ctrl-C and sudden death: what was done stays, the kernel ends, the half-done notebook is known, and --resume runs only that."
    make(project / "nbs/figures/toy_fig01_good.ipynb", "Path = __import__('pathlib').Path", "Path(out, 'result.txt').write_text(str(n))")
    make(project / "nbs/figures/toy_fig02_slow.ipynb", SLOW)
    running, run = process("run", "--out", "here", cwd=project), project / "runs/here"
    half = run / "figures/toy_fig02_slow/half.txt"
    wait_for(lambda: half.exists() and half.read_text(), "the slow notebook")
    kernel, done = int(half.read_text()), files(run / "figures/toy_fig01_good")
    assert is_alive(kernel)
    running.send_signal(how)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert how == signal.SIGKILL or "--resume" in errors
    wait_for(lambda: not is_alive(kernel), "the end of the kernel")
    assert states(run) == {"figures/toy_fig01_good": "done", "figures/toy_fig02_slow": "unfinished"}
    make(project / "nbs/figures/toy_fig02_slow.ipynb", SLOW.replace("600", "0"))
    again = process("run", "--resume", cwd=project)
    printed, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert re.findall(r"^start\s+(\S+)", printed, flags=re.M) == ["figures/toy_fig02_slow"]
    assert files(run / "figures/toy_fig01_good") == done
    assert not list(run.rglob("*.partial"))


def job_done(project):
    "A job that counts as done, without running it."
    job = plan([], project / "runs/x", preset="test", device="cpu", parameters={"n": "5"})[0]
    job.folder.mkdir(parents=True)
    job.executed.write_text("{}")
    job.set_state("unfinished")
    job.set_state("done", seconds=1.0)
    return job


def test_done_means_the_same_code_parameters_weights_and_preset(project, monkeypatch):
    job = job_done(project)
    assert job.is_done()
    for preset, n in [("demo", "5"), ("test", "6")]:
        other = plan([], project / "runs/x", preset=preset, device="cpu", parameters={"n": n})[0]
        assert not other.is_done(), (preset, n)
    make(job.notebook.path, *GOOD, title="Other prose")
    assert job.is_done()
    monkeypatch.setenv("METANB_WEIGHTS", str(project / "weights"))
    assert job.is_done()
    (project / "weights/toy/net").mkdir(parents=True)
    (project / "weights/toy/net/card.json").write_text('{"sha256": "1"}')
    assert not job.is_done()
    monkeypatch.setenv("METANB_WEIGHTS", str(project / "none"))
    assert job.is_done()
    make(job.notebook.path, *GOOD, "1 + 1")
    assert not job.is_done()


@pytest.mark.parametrize("damage", [
    lambda job: job.executed.unlink(),
    lambda job: (job.folder / "state.json").unlink(),
    lambda job: (job.folder / "state.json").write_text('{"status": "do'),
    lambda job: job.set_state("unfinished"),
    lambda job: job.set_state("failed"),
])
def test_not_done_when_something_is_missing(project, damage):
    job = job_done(project)
    damage(job)
    assert not job.is_done()


def test_edited_while_it_ran(project):
    "A notebook that changes between its start and its end is not done: what ran is not what is there."
    job = job_done(project)
    job.set_state("unfinished")
    make(job.notebook.path, *GOOD, "1 + 1")
    job.set_state("done", seconds=1.0)
    assert not job.is_done()


def test_a_fresh_run_clears_what_an_earlier_one_left(project, monkeypatch):
    "Old checkpoints must not leak into a new run; resuming with the same code and parameters must keep them."
    job = job_done(project)
    (job.folder / "checkpoint").write_text("old")
    monkeypatch.setattr(batch.subprocess, "Popen", lambda *arguments, **more: None)
    batch.start(job, 1, True)
    assert (job.folder / "checkpoint").exists()
    changed = plan([], project / "runs/x", preset="demo", device="cpu", parameters={})[0]
    batch.start(changed, 1, True)
    assert not (job.folder / "checkpoint").exists()
    (job.folder / "checkpoint").write_text("old")
    batch.start(changed, 1, False)
    assert not (job.folder / "checkpoint").exists()


REFUSED = {
    "unknown preset": (["run", "--preset", "huge"], ["preset is 'huge'", "test, demo, paper"]),
    "unknown parameter": (["run", "-p", "m=3"], ["'m'", "toy_fig01_good", "preset, seed, device, out, n"]),
    "parameter without value": (["run", "-p", "n"], ["'n'", "name=value"]),
    "parameter of another type": (["run", "-p", "n=many"], ["n of figures/toy_fig01_good is 'many'", "int"]),
    "fraction for a whole number": (["run", "-p", "n=2.5"], ["n of figures/toy_fig01_good is '2.5'", "int"]),
    "negative seed": (["run", "-p", "seed=-1"], ["seed of figures/toy_fig01_good is -1", "a whole number from 0"]),
    "seed that no generator takes": (["run", "-p", f"seed={10 ** 19}"], ["seed of figures/toy_fig01_good", "from 0 to"]),
    "beyond the interval": (["run", "-p", "scale=6"], ["scale of figures/toy_fig01_good is 6", "in (0, 5]"]),
    "open end of the interval": (["run", "-p", "scale=0"], ["scale of figures/toy_fig01_good is 0", "in (0, 5]"]),
    "infinite": (["run", "-p", "scale=1e999"], ["scale of figures/toy_fig01_good is inf"]),
    "parameter that an option sets": (["run", "-p", "preset=demo"], ["--preset"]),
    "missing notebook": (["run", "truss_fig01"], ["truss_fig01", "metanb list"]),
    "one of two missing": (["run", "toy", "voxel"], ["'voxel'"]),
    "unknown device": (["run", "--device", "abacus"], ["device is 'abacus'", "cuda"]),
    "no jobs": (["run", "--jobs", "0"], ["jobs is 0"]),
    "empty out": (["run", "--out", ""], ["out is ''"]),
    "out among the notebooks": (["run", "--out", "nbs/out"], ["out is", "among the notebooks"]),
    "out is a file": (["run", "--out", "./file"], ["out is", "file", "allowed: a folder that can be written to"]),
    "out below a file": (["run", "--out", "file/deep"], ["out is", "file", "allowed: a folder that can be written to"]),
    "out with foreign files": (["run", "--out", "./foreign"], ["foreign", "no run has made"]),
    "nothing to resume": (["run", "--resume"], ["no run in"]),
    "resume what is no run": (["run", "--resume", "--out", "./foreign"], ["foreign", "allowed: the folder of a run"]),
    "no summary": (["summary"], ["no run in"]),
    "summary of what is no run": (["summary", "./foreign"], ["foreign", "allowed: the folder of a run"]),
}


@pytest.mark.parametrize("arguments, words", REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_one_line_and_nothing_written(project, capsys, arguments, words):
    (project / "file").write_text("in the way")
    (project / "foreign/figures/toy_fig01_good").mkdir(parents=True)
    (project / "foreign/figures/toy_fig01_good/thesis.txt").write_text("precious")
    before, folders = files(project), sorted(project.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert all(word in printed.err for word in words), printed.err
    assert files(project) == before and sorted(project.rglob("*")) == folders


def test_no_cuda(project, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(SystemExit) as stop:
        main(["run", "--device", "cuda"])
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and "cuda" in errors and len(errors.splitlines()) == 1
    assert not (project / "runs").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is the folder that nobody can write to")
def test_read_only_out(project, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "--out", "/proc/here"])
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and "out is '/proc/here'" in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize("tags", [(), ("parameters", "parameters")])
def test_a_notebook_needs_one_parameters_cell(project, tags):
    path = project / "nbs/figures/toy_fig09.ipynb"
    make(path)
    notebook = nbformat.read(path, 4)
    notebook.cells[1:] = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": [tag]}) for tag in tags]
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match=f"toy_fig09 tagged parameters is {len(tags)}; allowed: exactly one"):
        run_notebooks(["fig09"])
    assert not (project / "runs").exists()


def test_debug_shows_the_traceback(project):
    for arguments in (["--debug", "run", "nothing"], ["run", "nothing", "--debug"]):
        with pytest.raises(ValueError, match="nothing"):
            main(arguments)


def test_where_notebooks_are_found(project, tmp_path_factory, monkeypatch):
    "METANB_NBS, then a checkout of metanb from the current folder upward, then beside the package."
    other, far = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("far")
    make(other / "nbs/figures/toy_fig07.ipynb")
    make(other / "package/nbs/figures/toy_fig08.ipynb")
    monkeypatch.setattr(metanb, "__file__", str(other / "package/metanb/__init__.py"))
    monkeypatch.setenv("METANB_NBS", str(other / "nbs"))
    monkeypatch.chdir(project / "nbs/figures")
    assert notebooks_folder() == other / "nbs"
    monkeypatch.setenv("METANB_NBS", str(far))
    with pytest.raises(ValueError, match="METANB_NBS is .*allowed: the folder nbs"):
        notebooks_folder()
    monkeypatch.delenv("METANB_NBS")
    assert notebooks_folder() == project / "nbs" and runs_folder() == project / "runs"
    (project / "settings.ini").write_text("lib_name = somebody_else")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("METANB_DATA", raising=False)
    assert notebooks_folder() == other / "package/nbs" and data_root() == Path.home() / ".cache/metanb/data"
    monkeypatch.chdir(far)
    assert runs_folder() == far / "runs"
    assert [notebook.key for notebook in find_notebooks()] == ["figures/toy_fig08"]
    monkeypatch.setattr(metanb, "__file__", str(far / "metanb/__init__.py"))
    with pytest.raises(ValueError, match="METANB_NBS"):
        notebooks_folder()


def test_paths_are_those_of_the_user(project, monkeypatch):
    "~ is the home; what is relative begins where the user stands, in a notebook's process too."
    monkeypatch.setenv("HOME", str(project / "home"))
    monkeypatch.setenv("METANB_DATA", "~/sets")
    assert data_root() == project / "home/sets" and environment("test", 1)["METANB_DATA"] == str(project / "home/sets")
    assert write_json("~/a.json", {}) == project / "home/a.json" and read_json("~/a.json") == {} and not (project / "~").exists()
    assert place_of("~/run") == project / "home/run"
    monkeypatch.setenv("METANB_DATA", "sets")
    assert environment("test", 1)["METANB_DATA"] == str(project / "sets")
    monkeypatch.setenv("METANB_DATA", "~nobody-of-this-name/sets")
    with pytest.raises(ValueError, match="METANB_DATA is '~nobody-of-this-name/sets'; allowed: a path"):
        data_root()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied"), IsADirectoryError(21, "Is a directory")])
def test_a_full_disk_is_one_line(project, monkeypatch, capsys, error):
    def full(*args, **options):
        raise error

    monkeypatch.setattr("metanb.core.runs.run_notebooks", full)
    with pytest.raises(SystemExit) as end:
        main(["run", "toy"])
    assert end.value.code == 2 and capsys.readouterr().err.splitlines() == [f"metanb: {error}"]


@pytest.mark.parametrize("arguments, words", [
    (["data", "kirigami", "--preset", "paper"], ["20,000 kirigami cells up to 60 degrees", "usually", "MB"]),
    (["data", "truss"], ["100,000 trusses", "usually", "25 MB"]),
    (["data", "voxel", "--source", "families"], ["20,000 cells of 32^3 voxels", "usually 10 min on 2 cores"]),
    (["data", "cellular", "--preset", "paper"], ["designs of 96 x 96 pixels", "days"]),
    (["train", "kirigami", "--model", "ddpm", "--preset", "paper"], ["training of ddpm, 1,875,000 steps, 3 times", "days"]),
    (["train", "cellular", "--model", "video_48"], ["training of video_48", "not measured"]),
    (["run", "toy", "--preset", "paper"], ["1 notebook at paper: usually 2 h on one core"]),
], ids=lambda value: " ".join(value[:2]))
def test_a_dry_run_says_what_and_how_long_and_does_nothing(project, monkeypatch, capsys, arguments, words):
    write_json(project / "nbs/times.json", {"figures/toy_fig01_good": {"test": 3, "paper": 7200}})
    monkeypatch.setenv("METANB_DATA", str(project / "sets"))
    before = files(project)
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--dry-run"])
    printed = capsys.readouterr().out
    assert end.value.code in (0, None) and printed.endswith("nothing was done\n")
    assert all(word in printed for word in words), printed
    assert files(project) == before


@pytest.mark.parametrize("terminal, answer, begun", [(True, False, False), (True, True, True), (False, None, True)])
def test_a_terminal_is_asked_before_more_than_an_hour(monkeypatch, terminal, answer, begun):
    "A batch job is never held up, an hour is not asked for, and --yes answers beforehand."
    asked = []
    monkeypatch.setattr("sys.stdin", type("Input", (), {"isatty": lambda self: terminal})())
    monkeypatch.setattr("sys.stderr", type("Output", (), {"isatty": lambda self: True, "write": lambda self, text: len(text), "flush": lambda self: None})())
    monkeypatch.setattr("typer.confirm", lambda question, **options: asked.append(question) or answer)
    half = plans.Plan("work", "here", core_seconds=2000)
    assert plans.agreed([half]) and plans.agreed([half, half], yes=True) and not asked
    assert plans.agreed([half, half]) is begun
    assert asked == (["67 min in all. Begin?"] if terminal else [])


def test_a_plan_of_everything_does_nothing(project, monkeypatch, capsys):
    monkeypatch.setenv("METANB_DATA", str(project / "sets"))
    with pytest.raises(SystemExit) as stop:
        main(["plan", "--preset", "paper"])
    said = capsys.readouterr().out
    assert stop.value.code in (0, None) and not (project / "sets").exists()
    for space in ("cellular", "kirigami", "truss", "voxel"):
        assert f"metanb data {space} --preset paper" in said and f"metanb train {space} --preset paper" in said
    assert "3,000,000 trusses" in said and said.count("nothing was done") == 9



@pytest.mark.parametrize("space, typed, meant", [("kirigami", "energi", "energy"), ("truss", "affin", "affine"), ("voxel", "bits16", "bits_16"),
                                                 ("cellular", "video24", "video_24")])
def test_a_misspelt_model_is_refused_before_data_are_made(project, capsys, space, typed, meant):
    before = files(project)
    with pytest.raises(SystemExit) as end:
        main(["train", space, "--model", typed])
    assert end.value.code == 2 and f"closest: {meant}" in capsys.readouterr().err
    assert files(project) == before


def test_ctrl_c_in_a_command_of_a_space(monkeypatch, capsys):
    "One line that says how to go on, and the exit code of an interrupt."
    def generate(*arguments, executor=None, **options):
        if executor is None:
            return generated(*arguments, **options)  # for the plan
        raise KeyboardInterrupt("finished shards are kept")

    from metanb.kirigami.data import generate as generated

    monkeypatch.setattr("metanb.kirigami.data.generate", generate)
    with pytest.raises(SystemExit) as end:
        main(["data", "kirigami", "--preset", "test", "--jobs", "1"])
    assert end.value.code == 130 and capsys.readouterr().err.endswith("interrupted: finished shards are kept; the same command goes on\n")


def test_new_runs_do_not_share_a_folder(project, monkeypatch):
    monkeypatch.setattr(batch, "run_batch", lambda jobs, **more: [])
    folders = {run_notebooks()[0] for _ in range(3)}
    assert len(folders) == 3 and all(folder.parent == project / "runs" for folder in folders)


def test_narrowing_a_resumed_run_does_not_forget_the_rest(project, monkeypatch):
    make(project / "nbs/tutorials/toy.ipynb", "1")
    asked = []
    monkeypatch.setattr(batch, "run_batch", lambda jobs, **more: asked.append([job.notebook.key for job in jobs]))
    run_notebooks(["toy"], preset="demo", parameters=["n=5"])
    run_notebooks(["tutorials"], resume=True, parameters=["scale=2"])
    folder, _ = run_notebooks(resume=True)
    assert asked == [["figures/toy_fig01_good", "tutorials/toy"], ["tutorials/toy"], ["figures/toy_fig01_good", "tutorials/toy"]]
    assert json.loads((folder / "run.json").read_text()) == {"patterns": ["toy"], "preset": "demo", "device": "auto",
                                                             "parameters": {"n": "5", "scale": "2"}}


def test_a_spoiled_metrics_file_does_not_spoil_the_summary(project, capsys):
    job = job_done(project)
    (project / "runs/x/run.json").write_text("{}")
    (job.folder / "metrics.json").write_text('{"rows": [{"quantity": 1}]}')
    with pytest.raises(SystemExit) as stop:
        main(["summary", "x"])
    assert stop.value.code in (0, None) and "metrics.json: keys of a row in rows is" in capsys.readouterr().out


SPACE = '''
"Toys."
import sys
sys.toy_was_imported = True

def command(n: int = 3, name: str = "toy", twice: bool = False):
    "Make toys."
    if n < 0:
        raise ValueError(f"n={n} must be at least 0;\\nit counts toys")
    print(f"{n} {name} {twice}")
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    "A package with one space that brings two commands and one module that brings none."
    folder = tmp_path / "toypackage"
    (folder / "toy").mkdir(parents=True)
    for name, text in {"data": SPACE, "benchmark": SPACE, "model": "raise RuntimeError('imported')"}.items():
        (folder / f"toy/{name}.py").write_text(text)
    for init in (folder / "__init__.py", folder / "toy/__init__.py"):
        init.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(metanb, "__file__", str(folder / "__init__.py"))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "toypackage"]:
        del sys.modules[name]
    if hasattr(sys, "toy_was_imported"):
        del sys.toy_was_imported


def test_spaces_bring_commands(package):
    runner, app = CliRunner(), command_line()
    for verb in ("data", "benchmark"):
        shown = runner.invoke(app, [verb, "--help"])
        assert shown.exit_code == 0 and re.search(r"toy\s+Make toys\.", shown.output)
    assert verb in runner.invoke(app, ["--help"]).output and not hasattr(sys, "toy_was_imported")
    assert runner.invoke(app, ["data", "toy"]).output == "3 toy False\n"
    assert runner.invoke(app, ["data", "toy", "--n", "5", "--name", "a b", "--twice"]).output == "5 a b True\n"
    assert "--twice" in runner.invoke(app, ["data", "toy", "--help"]).output
    assert runner.invoke(app, ["data", "toy", "--m", "5"]).exit_code == 2
    assert runner.invoke(app, ["data", "ball"]).exit_code == 2


def test_a_value_error_of_a_space_is_one_line(package, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data", "toy", "--n", "-1"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "metanb: n=-1 must be at least 0; it counts toys\n"


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["data", "--help"], ["run", "--preset", "huge"]])
def test_light_commands_load_nothing_heavy(arguments):
    "Help and lists must not wait for PyTorch or papermill: this looks at what was imported, not at a clock."
    program = f"""
import sys
from metanb.core.runs import main
try:
    main({arguments})
except SystemExit:
    pass
print("HEAVY", sorted({{"torch", "papermill", "matplotlib", "numpy", "zarr", "IPython"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.stdout.rstrip().endswith("HEAVY []"), done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
@pytest.mark.skipif(importlib.util.find_spec("voila") is None, reason="not installed: voila")
def test_an_app_that_is_told_to_end_takes_voila_along(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"import sys; from metanb.core.apps import serve; sys.exit(serve('kirigami', {port}, browser=False))"
    app = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def answers():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    try:
        end = time.monotonic() + 300
        while not answers():
            assert app.poll() is None and time.monotonic() < end
            time.sleep(0.2)
        app.terminate()
        assert app.wait(60) == 128 + signal.SIGTERM
        assert not answers()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(app.pid, signal.SIGKILL)
