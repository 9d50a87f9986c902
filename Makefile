# `make demo` and `make test` set everything up by themselves, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SCENE := plugins/gas_diorama/scenes/demo
PHOTOGRAPH := docs/photographs/coffee.jpg
REQUEST := change the red car into a blue house, change the grass into snow, change the clear sky into a sunset sky

.PHONY: demo test lowest lint format setup clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'gas needs Python 3.11 or newer; try make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,batch,groundingdino,yolo,dev]"
	touch $@

demo: setup
	mkdir -p demo
	$(BIN)/gas edit $(SCENE).png "$(REQUEST)" --profile diorama --planner rules --seed 1 --overwrite -o demo/after.png
	$(BIN)/gas info demo/after.png
	$(BIN)/python -m gas_diorama.bench.before_after $(SCENE).png demo/after.png demo/before-after.png
	$(BIN)/gas edit $(PHOTOGRAPH) "change the red cup into a blue cup" --box "cup=72,12,484,392" --profile retouch --overwrite -o demo/photograph.jpg
	@echo "look at demo/before-after.png, and at demo/photograph.jpg beside $(PHOTOGRAPH)"

# Packages of extras that would slow every program of the environment, for the tests that need them (tests/apart.py).
APART := $(VENV)/apart

$(APART)/.ready: $(VENV)/.ready constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(APART) -c constraints.txt gguf peft torchao
	touch $@

# Tests start many programs; what is compiled is kept for them, whatever the environment says.
test: setup $(APART)/.ready
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# What pyproject.toml promises of its lower bounds: the base, without torch, on the oldest versions that it allows.
LOWEST := .venv-lowest
LOWEST_TESTS := tests/picture tests/plan tests/regions tests/test_files.py tests/test_reserve.py

lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip compile --quiet --no-header --resolution lowest-direct --python $(LOWEST)/bin/python pyproject.toml -o $(LOWEST)/lowest.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python -c $(LOWEST)/lowest.txt -e . pytest pytest-timeout hypothesis httpx scikit-image scikit-learn
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest $(LOWEST_TESTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(LOWEST) demo build dist .pytest_cache .mypy_cache .ruff_cache
