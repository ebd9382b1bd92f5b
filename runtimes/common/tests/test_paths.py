"""Which paths from outside may be followed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace_common.paths import leaves_its_folder, why_unsafe

PATHS = st.text(alphabet=st.sampled_from("ab./\\\0é"), max_size=12)


@given(PATHS)
def test_a_path_that_is_let_through_stays_below_its_folder(tmp_path_factory, path):
    folder = tmp_path_factory.getbasetemp()
    if why_unsafe(path) is None:
        joined = (folder / path).resolve()
        assert joined != folder
        assert joined.is_relative_to(folder)


@given(PATHS)
def test_what_leaves_its_folder_is_always_told(tmp_path_factory, path):
    folder = tmp_path_factory.getbasetemp()
    if not leaves_its_folder(path) and "\0" not in path:
        assert (folder / path).resolve().is_relative_to(folder)
    else:
        assert why_unsafe(path) is not None
