# The front door. `make demo` and `make test` work on a fresh machine; everything lands in .venv.
.PHONY: setup demo test check clean

setup:
	@.ci/setup

demo: setup
	@.venv/bin/watchword run samples/demo.mp4 --speed 1 --out out --term Watchword \
		--ask "When does the conference open?" --ask "Which room is it in?"

test: setup
	@.ci/test

check: setup
	@.ci/check

clean:
	rm -rf .venv out build *.egg-info
