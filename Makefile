# `make demo` and `make test` need Python, make and a pip index; everything else they install into .venv.
PYTHON ?= python3
WORK_DIR ?= work_dirs/cen_refinenet_r18_rooms
BIN := .venv/bin
CONFIG := configs/cen_refinenet_r18_rooms.py
SOURCES := cen_mm configs tools tests setup.py

.PHONY: demo test lint

.venv/installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --progress-bar off -e '.[lite,translation,test]'
	touch $@

# Renders the rooms, trains a small CEN on them, tests it, and writes a page of tables, curves and pictures.
demo: .venv/installed
	$(BIN)/python tools/dataset_converters/render_rooms.py data/rooms
	$(BIN)/python tools/train.py $(CONFIG) --amp --work-dir $(WORK_DIR)
	$(BIN)/python tools/test.py $(CONFIG) $(WORK_DIR)/epoch_15.pth --work-dir $(WORK_DIR) --show-dir $(WORK_DIR)/pictures
	$(BIN)/python tools/analysis_tools/report.py $(WORK_DIR)

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
