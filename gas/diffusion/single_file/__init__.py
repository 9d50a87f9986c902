"""Models in a single file, in the layout that each was first published in (`.safetensors`, `.ckpt`).

diffusers' own code renames the weights (`diffusers.loaders.single_file_utils`). The settings of the parts are not in a
file: they lie in `settings` beside these modules, as they are published beside the weights in diffusers' layout, so
nothing is fetched. CLIP's words are its merges (`settings/stable_diffusion_1/tokenizer/merges.txt`: by OpenAI, under
the MIT licence beside it).
"""
