# `make demo` and `make test` need Python, make and a pip index; they install everything else into .venv.
PYTHON ?= python3
WORK_DIRS ?= work_dirs
BIN := .venv/bin
SOURCES := cen_mm configs tools tests setup.py noxfile.py
# A command starts in half the time from bytecode, so write it even where the environment says not to.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo demo-run test gpu lint docs

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --progress-bar off --no-compile -e '.[lite,translation,networks,converters,rooms,app,deployment,docs,test]'
	touch $@

# Renders the embedded rooms. Then trains and tests a small CEN on them for segmentation, and another one for
# translation, and writes a page with tables, curves and images for each.
demo: .venv/installed
	$(BIN)/python tools/render_rooms.py data/rooms
	$(MAKE) --no-print-directory demo-run CONFIG=cen_refinenet_r18_rooms EPOCHS=15
	$(MAKE) --no-print-directory demo-run CONFIG=cen_unet_shade-texture2rgb_rooms EPOCHS=30

demo-run:
	$(BIN)/python tools/train.py configs/$(CONFIG).py --amp --work-dir $(WORK_DIRS)/$(CONFIG)
	$(BIN)/python tools/test.py configs/$(CONFIG).py $(WORK_DIRS)/$(CONFIG)/epoch_$(EPOCHS).pth \
		--work-dir $(WORK_DIRS)/$(CONFIG) --show-dir $(WORK_DIRS)/$(CONFIG)/images
	$(BIN)/python tools/analysis_tools/report.py $(WORK_DIRS)/$(CONFIG)

test: .venv/installed
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# The table is also measured if a test fails.
gpu: .venv/installed
	$(BIN)/python -m pytest -m gpu; status=$$?; $(BIN)/python tools/benchmarks/gpu_table.py && exit $$status

lint: .venv/installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet -f .mkdocs.yml
