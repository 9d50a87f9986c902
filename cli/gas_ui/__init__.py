"""`gas ui`: a page on this machine for people who would rather look than type.

It has no logic of its own: plans, regions and edits are made by `gas.run.job`, as for the command line. `serve` starts
it, `guard` says who may speak to it, `window` is the work of one browser window, `static/` the page.
"""
