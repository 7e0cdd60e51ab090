"Cellular designs against slow second computations, and what is refused."
import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from metanb.cellular.design import (check_designs, clean, components, fields_from_noise, is_valid, mirror, plot_cell,
                                    random_designs, random_fields, random_thresholds, relative_density, thin_necks)

RNG = np.random.default_rng(0)
SMALL = RNG.random((400, 6, 7)) < RNG.uniform(0.3, 0.9, (400, 1, 1))


def pieces(design, periodic):
    "Sets of connected pixels, by flood fill."
    rows, columns = design.shape
    todo, found = set(zip(*np.nonzero(design))), []
    while todo:
        front = [todo.pop()]
        found.append(set(front))
        while front:
            j, i = front.pop()
            around = [(j - 1, i), (j + 1, i), *((j, k % columns if periodic else k) for k in (i - 1, i + 1))]
            new = todo.intersection(around)
            todo -= new
            found[-1] |= new
            front += new
    return found


def design_from_the_recipe(seed, index, quarter, exponent, t_max):
    "One quarter as the published script draws it: (k^2)^(-2 exponent / 4), the threshold kept, both parts of the transform tried in turn."
    rng = np.random.default_rng((seed, index))
    t = rng.uniform(0, t_max)
    k = np.arange(quarter) - quarter // 2
    power = np.fft.ifftshift(k[:, None] ** 2 + k ** 2).astype(float)
    power[0, 0] = np.inf
    while True:
        noise = rng.standard_normal((quarter, quarter, 2))
        waves = np.fft.ifft2((noise[..., 0] + 1j * noise[..., 1]) * power ** (-2 * exponent / 4))
        for field in (waves.real, waves.imag):
            solid = (field - field.mean()) / field.std() > t
            sides = [solid[0], solid[-1], solid[:, 0], solid[:, -1]]
            if min(side.sum() for side in sides) >= int(0.1 * quarter) and len(pieces(solid, False)) == 1:
                return solid


def test_designs_against_the_recipe():
    designs = random_designs(12, seed=4, quarter=20, amplitude_exponent=2.5, t_max=0.5)
    for i, design in enumerate(designs):
        assert np.array_equal(design[:20, :20], design_from_the_recipe(4, i, 20, 2.5, 0.5))


def test_a_design_depends_on_seed_and_index_alone(monkeypatch):
    options = dict(quarter=16, t_max=0.5)
    designs = random_designs(150, seed=7, **options)  # more than one block
    assert np.array_equal(random_designs(5, seed=7, **options), designs[:5])
    for name, value in (("_BLOCK", 7), ("_PAIRS", 1)):
        monkeypatch.setattr(f"metanb.cellular.design.{name}", value)
        assert np.array_equal(random_designs(20, seed=7, **options), designs[:20])
    assert not (random_designs(5, seed=8, **options) == designs[:5]).all((1, 2)).any()


def test_odd_and_small_quarters():
    for pixels in (4, 7):
        designs = random_designs(20, seed=1, quarter=pixels)
        assert designs.shape == (20, 2 * pixels, 2 * pixels) and is_valid(designs[:, :pixels, :pixels]).all()
    assert random_designs(0).shape == (0, 96, 96)


def test_thresholds_are_uniform():
    assert kstest(random_thresholds(3000, seed=1, t_max=0.6), "uniform", (0, 0.6)).pvalue > 1e-4
    assert np.array_equal(2 * random_thresholds(9, seed=1, t_max=0.3), random_thresholds(9, seed=1, t_max=0.6))


def test_field_has_no_preferred_place_or_sign():
    fields = random_fields(1500, seed=3, quarter=12)
    at = fields[:, 0, 0]
    for other in (fields[:, 5, 7], -at, fields[:, 3, 11]):
        assert ks_2samp(at, other).pvalue > 1e-4
    rows, columns = (fields * np.roll(fields, 2, 1)).mean(), (fields * np.roll(fields, 2, 2)).mean()
    assert abs(rows - columns) < 0.05 and rows > 0.1


def test_components_against_flood_fill():
    for periodic in (True, False):
        labels, counts = components(SMALL, periodic=periodic)
        for design, label, count in zip(SMALL, labels, counts):
            found = pieces(design, periodic)
            assert count == len(found) and set(np.unique(label[design])) == set(range(1, count + 1)) and not label[~design].any()
            assert all(len({label[pixel] for pixel in piece}) == 1 for piece in found)


def test_clean_against_flood_fill():
    for periodic in (True, False):
        for design, kept in zip(SMALL, clean(SMALL, periodic=periodic)):
            sizes = [len(piece) for piece in pieces(design, periodic)]
            largest = max(sizes, default=0)
            assert kept.sum() == (largest if largest > 1 else 0) and not (kept & ~design).any()
            assert len(pieces(kept, periodic)) == (largest > 1)


def test_is_valid_against_flood_fill():
    valid = is_valid(SMALL, min_contact=0.3)
    for design, answer in zip(SMALL, valid):
        sides = min(design[0].sum() / 2, design[-1].sum() / 2, design[:, 0].sum(), design[:, -1].sum())
        assert answer == (sides >= 1 and len(pieces(design, False)) == 1)
    assert 20 < valid.sum() < 380


def necks_by_loops(design):
    "Edges between two solid pixels with free nodes at both ends, and nodes between two diagonal pixels."
    rows, columns = design.shape
    solid = lambda j, i: bool(design[min(max(j, 0), rows - 1), i % columns])
    around = lambda j, i: [solid(j - 1, i - 1), solid(j - 1, i), solid(j, i), solid(j, i - 1)]  # counter-clockwise
    neighbours = lambda j, i: solid(j, i - 1) + solid(j, i + 1) + solid(j - 1, i) + solid(j + 1, i)
    mask = np.zeros_like(design)
    for j in range(rows + 1):
        for i in range(columns):
            if around(j, i) in ([True, False, True, False], [False, True, False, True]):
                for y, x in ((j - 1, i - 1), (j - 1, i), (j, i), (j, i - 1)):
                    if 0 <= y < rows:
                        mask[y, x % columns] |= solid(y, x)
            for pair, end in ((((j, i - 1), (j, i)), (j + 1, i)), (((j - 1, i), (j, i)), (j, i + 1))):
                inside = all(0 <= y < rows for y, _ in pair)
                if inside and all(solid(*p) and neighbours(*p) > 1 for p in pair) and not all(around(j, i)) and not all(around(*end)):
                    for y, x in pair:
                        mask[y, x % columns] = True
    return mask


def test_necks_against_loops():
    for design, mask in zip(SMALL, thin_necks(SMALL)):
        assert np.array_equal(mask, necks_by_loops(design))


def test_opening_the_necks_of_a_frame():
    frame = np.ones((20, 20), bool)
    frame[6:14, 6:14] = False
    assert not thin_necks(frame).any()
    frame[[0, 1, 2, 4, 5], 10] = False  # all but one pixel of a member 6 high
    assert set(zip(*np.nonzero(thin_necks(frame)))) == {(3, 9), (3, 10), (3, 11)}
    frame[4, 10] = True
    assert not thin_necks(frame).any()
    frame[:6, 10] = [True, *[False] * 5]  # a skin on the platen, which the mirror image beyond makes two pixels thick
    assert not thin_necks(frame).any()


def test_single_designs_and_batches_agree():
    design = random_designs(1, seed=1, quarter=8)[0]
    for function in (relative_density, thin_necks, clean, is_valid, mirror, lambda a: components(a)[0], lambda a: components(a)[1]):
        single, batch, nested = function(design), function(design[None]), function(design[None, None])
        assert np.array_equal(single, batch[0]) and np.array_equal(single, nested[0, 0])
    assert np.shape(relative_density(design)) == ()


def test_inputs_stay_as_they_are():
    designs = random_designs(3, seed=1, quarter=8)
    before = designs.copy()
    designs.flags.writeable = False
    for function in (relative_density, thin_necks, clean, is_valid, mirror, components, check_designs):
        function(designs)
    assert np.array_equal(designs, before)


def test_check_designs_passes_what_can_be_compressed():
    assert check_designs(np.ones((2, 2), bool)).all()
    around = np.ones((4, 6), bool)
    around[:, 2:4] = False  # two walls, one piece around the periodic edge
    assert np.array_equal(check_designs(around)[0], around)
    assert check_designs(np.asfortranarray(np.ones((3, 4, 6), bool))).flags.c_contiguous
    assert np.array_equal(check_designs(random_designs(20, seed=1)), random_designs(20, seed=1))


SOLID = np.ones((4, 6), bool)
TWO, LOW, HIGH = SOLID.copy(), SOLID.copy(), SOLID.copy()
TWO[2], LOW[-1], HIGH[0] = False, False, False
CORNER = np.kron(np.eye(2, dtype=bool), np.ones((2, 2), bool))
CORNER = np.pad(CORNER, ((0, 0), (1, 1)))  # two squares that touch at a corner, apart from their periodic images


@pytest.mark.parametrize("bad,message", [
    (np.where(SOLID, 1.0, 0), "dtype is 'float64';"), (np.where(SOLID, np.nan, 0), "float64, with NaN"), (SOLID.astype(int), "dtype is 'int64'"),
    ([["a", "b"], ["c", "d"]], "dtype"), (SOLID[0], r"shape is \(6,\)"), (SOLID[:1], "at least 2 x 2"), (SOLID[:, :1], "at least 2 x 2"),
    (np.ones((1, 2, 4, 6), bool), r"shape is \(1, 2, 4, 6\)"), (np.ones((0, 4, 6), bool), "at least one design"),
    (np.stack([SOLID, ~SOLID]), r"designs\[1\] has no solid pixel"), (np.stack([SOLID, SOLID, TWO]), r"designs\[2\] is 2 pieces"),
    (CORNER, r"designs\[0\] is 2 pieces"), (np.stack([SOLID, LOW]), r"designs\[1\] does not touch the top"),
    (np.stack([HIGH, SOLID]), r"designs\[0\] does not touch the bottom")])
def test_bad_designs(bad, message):
    with pytest.raises(ValueError, match=message) as error:
        check_designs(bad)
    assert "allowed: " in str(error.value)


@pytest.mark.parametrize("options,message", [
    (dict(n=-1), "n is -1"), (dict(n=True), "n is True"), (dict(n=2.0), "n is 2.0"), (dict(seed=-1), "seed is -1"), (dict(seed=None), "seed is None"),
    (dict(quarter=3), "quarter is 3"), (dict(quarter=8.5), "quarter is 8.5"), (dict(t_max=-0.1), "t_max is -0.1"), (dict(t_max=4), "t_max is 4"),
    (dict(t_max=float("nan")), "t_max is nan"), (dict(t_max=None), "t_max is None"), (dict(t_max="0.6"), "t_max is '0.6'"),
    (dict(amplitude_exponent=-1), "amplitude_exponent is -1"), (dict(amplitude_exponent=float("inf")), "amplitude_exponent is inf"),
    (dict(min_contact=-0.1), "min_contact is -0.1"), (dict(min_contact=2), "min_contact is 2"), (dict(t_max=[0.1]), "t_max is")])
def test_bad_requests(options, message):
    with pytest.raises(ValueError, match=message):
        random_designs(**{"n": 1, **options})


def test_settings_that_leave_no_design_end_with_an_error():
    with pytest.raises(ValueError, match="none of .* fields is valid"):
        random_designs(1, quarter=16, amplitude_exponent=0, min_contact=0.5)


def test_bad_noise_and_pictures():
    with pytest.raises(ValueError, match=r"noise.shape is \(4,\)"):
        fields_from_noise(np.ones(4))
    with pytest.raises(ValueError, match="design.shape is"):
        plot_cell(np.stack([SOLID, SOLID]))


def test_a_threshold_that_is_held():
    drawn = random_thresholds(3, seed=5)
    for i, threshold in enumerate(drawn):
        assert np.array_equal(random_designs(3, seed=5, threshold=threshold)[i], random_designs(3, seed=5)[i])
    with pytest.raises(ValueError, match="threshold is 3.*none of"):
        random_designs(1, quarter=12, threshold=3)
