"""What a single file of Stable Diffusion 1.x does not hold: the settings of its parts, as they are published beside its
weights in diffusers' layout, and the merges of CLIP's tokenizer (`tokenizer/merges.txt`: by OpenAI, under the MIT
licence in `tokenizer/LICENSE`)."""
