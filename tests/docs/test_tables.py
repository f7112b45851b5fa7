"""Figures in the pages are those of benchmarks/results."""

from __future__ import annotations

import pytest
import tables


@pytest.mark.parametrize("page", tables.PAGES)
def test_figures_of_a_page_are_the_measured_ones(page):
    text = (tables.ROOT / page).read_text(encoding="utf-8")
    assert tables.BLOCK.search(text), "no figure of this page is made of the results"
    assert tables.filled(text) == text, "run python benchmarks/tables.py"


def test_every_figure_stands_in_a_page():
    texts = [(tables.ROOT / page).read_text(encoding="utf-8") for page in tables.PAGES]
    assert {found[1] for text in texts for found in tables.BLOCK.findall(text)} == set(tables.FIGURES)


def test_another_figure_is_seen_and_put_right():
    page = f"creff: <!-- measured: gpu fusion -->{tables.gpu_fusion()}<!-- end -->."
    assert tables.filled(page.replace("times", "tmies")) == page != page.replace("times", "tmies")
    with pytest.raises(SystemExit, match="measured: gpu fsuion -->: expected one of cpu table"):
        tables.filled("<!-- measured: gpu fsuion -->1<!-- end -->")
